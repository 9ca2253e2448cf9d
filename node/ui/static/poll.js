// Reading again and again while the page is looked at.

/** Calls load every so many milliseconds, one call at a time, until the returned function is called. */
export function poll(every, load, failed) {
  let ended = false;
  let timer = null;
  const turn = async () => {
    if (!document.hidden) {
      try {
        await load(() => ended);
      } catch (error) {
        if (!ended) failed(error);
      }
    }
    if (!ended) timer = setTimeout(turn, every);
  };
  turn();
  return () => { ended = true; clearTimeout(timer); };
}

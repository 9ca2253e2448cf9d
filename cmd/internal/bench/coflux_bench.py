from coflux import task, workflow


@task()
def greet(name):
    return f"Hello, {name}!"


@task()
def noop(n):
    return n


@workflow()
def hello(name):
    return len(greet(name))


@workflow()
def chain(n):
    for i in range(n):
        noop(i)
    return n


@workflow()
def fan_out(n):
    handles = [noop.submit(i) for i in range(n)]
    return sum(handle.result() for handle in handles)

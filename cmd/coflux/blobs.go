package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// blobsGetOptions read a blob.
type blobsGetOptions struct{ file string }

func (o *blobsGetOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.file, "output", "o", "", "write to `FILE` instead of stdout; it is there only once it is whole")
}

func (o *blobsGetOptions) run(ctx context.Context, a *app, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	content, err := c.OpenBlob(ctx, args[0])
	var refused *client.Error
	if errors.As(err, &refused) && (refused.Code == "not_found" || refused.Status == 400) {
		return fmt.Errorf("blob not found: %s", args[0])
	}
	if err != nil {
		return err
	}
	defer content.Close()
	sum := sha256.New()
	from := io.TeeReader(content, sum)
	if o.file == "" {
		if _, err := io.Copy(a.stdout, from); err != nil {
			return fmt.Errorf("read blob %s: %w", args[0], err)
		}
		return checkSum(args[0], sum.Sum(nil))
	}
	tmp, err := os.CreateTemp(filepath.Dir(o.file), "."+filepath.Base(o.file)+".*")
	if err != nil {
		return fmt.Errorf("cannot write beside %s: %w", o.file, err)
	}
	defer os.Remove(tmp.Name()) // renamed by then, unless an error is on its way
	_, err = io.Copy(tmp, from)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = checkSum(args[0], sum.Sum(nil))
	}
	if err == nil {
		err = os.Rename(tmp.Name(), o.file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", o.file, err)
	}
	return nil
}

// checkSum says when what came is not what the key names.
func checkSum(key string, sum []byte) error {
	if hex.EncodeToString(sum) != key {
		return fmt.Errorf("what came of blob %s is not its content: try again, or ask another node with --host", key)
	}
	return nil
}

// blobsPutOptions store a file.
type blobsPutOptions struct{}

func (o *blobsPutOptions) AddFlags(*pflag.FlagSet) {}

func (o *blobsPutOptions) run(ctx context.Context, a *app, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	file, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	key := hex.EncodeToString(sum.Sum(nil))
	if err := c.UploadBlob(ctx, key, file); err != nil {
		return err
	}
	if a.json() {
		return a.printJSONValue(map[string]any{"key": key, "size": size})
	}
	_, err = fmt.Fprintln(a.stdout, key)
	return err
}

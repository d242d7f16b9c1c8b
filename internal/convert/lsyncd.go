package convert

import "errors"

func fromLsyncd(file string, data []byte, dir string) (Result, error) {
	return Result{}, errors.New("todo")
}

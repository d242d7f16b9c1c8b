package wire

import (
	"fmt"
)

// Read reads the next message. Slices of bytes in it are there until the next call; so are an Entry, a Remove, a Content and a Result themselves.
// An unknown type is an ErrFrame.
func (r *Reader) Read() (Message, error) {
	t, payload, err := r.Next()
	if err != nil {
		return nil, err
	}
	return parse(t, payload, r.empty(t))
}

// empty is a message of a type, with nothing in it.
func (r *Reader) empty(t Type) message {
	f := &r.frequent
	switch t {
	case typeEntry:
		f.entry = Entry{}
		return &f.entry
	case typeRemove:
		f.remove = Remove{}
		return &f.remove
	case typeContent:
		f.content = Content{}
		return &f.content
	case typeResult:
		f.result = Result{}
		return &f.result
	}
	return empty(t)
}

type message interface {
	Message
	decode(d *decoder)
}

func parse(t Type, payload []byte, m message) (Message, error) {
	if m == nil {
		return nil, fmt.Errorf("read frame of type %d: %w", t, ErrFrame)
	}
	d := decoder{b: payload}
	m.decode(&d)
	if !d.end() {
		return nil, fmt.Errorf("read frame of type %d: %w", t, ErrFrame)
	}
	return m, nil
}

func empty(t Type) message {
	switch t {
	case typeHello:
		return new(Hello)
	case typeWelcome:
		return new(Welcome)
	case typeBegin:
		return new(Begin)
	case typeEntry:
		return new(Entry)
	case typeRemove:
		return new(Remove)
	case typeContent:
		return new(Content)
	case typeContentEnd:
		return new(ContentEnd)
	case typeEnd:
		return new(End)
	case typeResult:
		return new(Result)
	case typeWant:
		return new(Want)
	case typeDone:
		return new(Done)
	case typeRefused:
		return new(Refused)
	case typeAlive:
		return new(Alive)
	case typeDurable:
		return new(Durable)
	case typeCompare:
		return new(Compare)
	case typeDir:
		return new(Dir)
	case typeListing:
		return new(Listing)
	case typeMove:
		return new(Move)
	case typeMore:
		return new(More)
	case typeFetch:
		return new(Fetch)
	case typeExpire:
		return new(Expire)
	}
	return nil
}

package main

// store is what the writer of the journal needs of a store. Only one goroutine uses it.
type store interface {
	// commit applies the changes in one transaction, which is on the disk when it returns. Removals of prefixes come
	// first, the rest is sorted by table and key.
	commit(changes []change) error
	// read gives all rows. The slices are valid during the call only.
	read(each func(t table, key, value []byte)) error
	close() error
}

// contestant is a store with its settings.
type contestant struct {
	name string
	// open opens or makes the store in a directory that is there.
	open func(dir string) (store, error)
	// trivial is the body of a main function that uses it, and imports what that needs: the size of the binary.
	trivial, imports string
}

// contestants are the columns of the table.
var contestants = []contestant{
	{"bbolt", openBolt, trivialBolt, importBolt},
	{"bbolt tuned", openTunedBolt, trivialBolt, importBolt},
	{"sqlite WAL", openSQLite("WAL"), trivialSQLite, importSQLite},
	{"sqlite rollback", openSQLite("DELETE"), trivialSQLite, importSQLite},
	{"pebble", openPebble, trivialPebble, importPebble},
}

// table is one of the tables (buckets, key prefixes) of the journal.
type table byte

const (
	// meta holds the number of the newest transaction and the checksum of all rows of the other tables.
	meta table = iota
	// index holds a row a path, log a row a mark, owed a row a mark and target.
	index
	log
	owed
	tables
)

func (t table) String() string { return [...]string{"meta", "index", "log", "owed"}[t] }

type verb byte

const (
	// removePrefix removes all rows whose key begins with the key of the change.
	removePrefix verb = iota
	remove
	put
)

type change struct {
	verb       verb
	table      table
	key, value []byte
}

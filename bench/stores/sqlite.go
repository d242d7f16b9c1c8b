package main

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	importSQLite  = `"database/sql"; _ "modernc.org/sqlite"`
	trivialSQLite = `
	db, err := sql.Open("sqlite", os.Args[1])
	fmt.Println(err)
	fmt.Println(db.Exec("CREATE TABLE t (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"))
	rows, err := db.Query("SELECT k, v FROM t")
	fmt.Println(rows, err)`
)

type sqlite struct {
	db *sql.DB
	// statements are, for each table, those of the verbs.
	statements [tables][put + 1]*sql.Stmt
}

// openSQLite opens with synchronous=FULL, the least that has a transaction on the disk when its commit returns (in WAL
// NORMAL does not), and 16 MiB of cache.
func openSQLite(mode string) func(dir string) (store, error) {
	return func(dir string) (store, error) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.sqlite")+
			"?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode("+mode+")&_pragma=synchronous(FULL)&_pragma=cache_size(-16384)")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		s := &sqlite{db: db}
		if err := s.prepare(); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return s, nil
	}
}

func (s *sqlite) prepare() error {
	for t := range tables {
		name := "t_" + t.String()
		if _, err := s.db.Exec("CREATE TABLE IF NOT EXISTS " + name + " (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"); err != nil {
			return err
		}
		for verb, text := range [...]string{
			removePrefix: "DELETE FROM " + name + " WHERE k >= ? AND k < ?",
			remove:       "DELETE FROM " + name + " WHERE k = ?",
			put:          "INSERT INTO " + name + " VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
		} {
			statement, err := s.db.Prepare(text)
			if err != nil {
				return err
			}
			s.statements[t][verb] = statement
		}
	}
	return nil
}

func (s *sqlite) commit(changes []change) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	if err := s.apply(tx, changes); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *sqlite) apply(tx *sql.Tx, changes []change) error {
	var statements [tables][put + 1]*sql.Stmt
	for _, c := range changes {
		statement := &statements[c.table][c.verb]
		if *statement == nil {
			*statement = tx.Stmt(s.statements[c.table][c.verb])
		}
		args := []any{c.key}
		switch c.verb {
		case put:
			args = append(args, c.value)
		case removePrefix:
			args = append(args, after(c.key))
		}
		if _, err := (*statement).Exec(args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlite) read(each func(t table, key, value []byte)) error {
	for t := range tables {
		if err := s.readTable(t, each); err != nil {
			return fmt.Errorf("read table %q: %w", t, err)
		}
	}
	return nil
}

func (s *sqlite) readTable(t table, each func(t table, key, value []byte)) error {
	rows, err := s.db.Query("SELECT k, v FROM t_" + t.String())
	if err != nil {
		return err
	}
	defer rows.Close()
	var key, value sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		each(t, key, value)
	}
	return rows.Err()
}

func (s *sqlite) close() error { return s.db.Close() }

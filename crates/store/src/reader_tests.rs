//! Tests of statements that are run, and of those that are refused.

use super::*;
use crate::Store;

/// Sink that keeps the rows.
#[derive(Default)]
struct Kept {
    names: Vec<String>,
    rows: Vec<Vec<Datum>>,
}

impl RowSink for Kept {
    fn write_columns(&mut self, names: &[String]) -> io::Result<()> {
        self.names = names.to_vec();
        Ok(())
    }

    fn write_row(&mut self, values: &[SeenDatum<'_>]) -> io::Result<bool> {
        self.rows.push(values.iter().map(|value| (*value).try_into().expect("UTF-8")).collect());
        Ok(true)
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        store
            .connection
            .execute_batch(
                "INSERT INTO recording (started_at, status, owner, plan, host)
                 VALUES ('2026-11-21T00:00:00Z', 'done', 'x', '{}', '{}')",
            )
            .expect("inserted");
        Self { folder }
    }

    fn reader(&self) -> SqlReader {
        SqlReader::open(&self.folder.path().join("c.db")).expect("opened")
    }
}

fn rows(reader: &SqlReader, sql: &str) -> Vec<Vec<Datum>> {
    let mut kept = Kept::default();
    reader.run_query(sql, &[], &mut kept).expect("valid");
    kept.rows
}

fn error(reader: &SqlReader, sql: &str) -> String {
    reader.run_query(sql, &[], &mut Kept::default()).expect_err("refused").to_string()
}

#[test]
fn values_keep_their_kind() {
    let place = Place::new();
    let row =
        rows(&place.reader(), "SELECT 9223372036854775807, 0.5, 'a', x'00ff', NULL").remove(0);
    assert_eq!(
        row,
        [
            Datum::Integer(i64::MAX),
            Datum::Real(0.5),
            Datum::Text("a".to_owned()),
            Datum::Blob(vec![0, 255]),
            Datum::Null
        ]
    );
}

#[test]
fn whatever_writes_is_refused_with_its_reason() {
    let place = Place::new();
    let reader = place.reader();
    for (sql, word) in [
        ("DELETE FROM recording", "delete rows of recording"),
        ("UPDATE recording SET label = 'x'", "change recording"),
        ("INSERT INTO recording (id) VALUES (7)", "add rows to recording"),
        ("REPLACE INTO recording (id) VALUES (7)", "recording"),
        ("CREATE TABLE t (x)", "only reads"),
        ("CREATE TEMP TABLE t (x)", "only reads"),
        ("CREATE TEMP VIEW w AS SELECT 1", "only reads"),
        ("DROP VIEW v_recording", "only reads"),
        ("ALTER TABLE recording ADD COLUMN x", "only reads"),
        ("ATTACH 'other.db' AS other", "another database"),
        ("ATTACH ':memory:' AS other", "another database"),
        ("DETACH main", "another database"),
        ("VACUUM", "only reads"),
        ("VACUUM INTO 'copy.db'", "only reads"),
        ("PRAGMA journal_mode = DELETE", "journal_mode"),
        ("PRAGMA journal_mode(DELETE)", "journal_mode"),
        ("PRAGMA query_only = OFF", "query_only"),
        ("PRAGMA query_only(0)", "query_only"),
        ("PRAGMA writable_schema = 1", "writable_schema"),
        ("PRAGMA wal_checkpoint", "wal_checkpoint"),
        ("PRAGMA optimize", "optimize"),
        ("SELECT * FROM pragma_journal_mode('DELETE')", "SQLite says"),
        ("BEGIN", "transaction"),
        ("SAVEPOINT a", "transaction"),
        ("REINDEX", "only reads"),
        ("ANALYZE", "only reads"),
        ("WITH x AS (SELECT 1) DELETE FROM recording", "delete rows"),
        ("EXPLAIN DELETE FROM recording", "delete rows"),
        ("SELECT load_extension('x')", ""),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT 1; DELETE FROM recording", ""),
        ("", "nothing to run"),
        ("-- only a comment", "nothing to run"),
        (";", "nothing to run"),
    ] {
        let text = error(&reader, sql);
        assert!(text.contains(word), "{sql}: {text}");
    }
    assert_eq!(rows(&reader, "SELECT COUNT(*) FROM v_recording"), [[Datum::Integer(1)]]);
}

#[test]
fn reading_is_allowed_in_all_its_forms() {
    let place = Place::new();
    let reader = place.reader();
    for sql in [
        "SELECT 1;",
        "SELECT 1 -- a comment",
        "SELECT 1; -- a comment",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
        "SELECT name FROM pragma_table_info('v_recording')",
        "PRAGMA table_info(v_recording)",
        "PRAGMA user_version",
        "EXPLAIN QUERY PLAN SELECT * FROM v_recording",
        "SELECT value FROM json_each('[1,2]')",
        "SELECT row_number() OVER (ORDER BY recording) FROM v_recording",
        "VALUES (1), (2)",
    ] {
        assert!(!rows(&reader, sql).is_empty(), "{sql}");
    }
}

#[test]
fn errors_name_what_was_probably_meant_and_where() {
    let place = Place::new();
    let reader = place.reader();
    let text = error(&reader, "SELECT * FROM v_invocatoin");
    assert!(text.contains("did you mean `v_invocation`?"), "{text}");
    let text = error(&reader, "SELECT x.wal_ns FROM v_invocation x");
    assert!(text.contains("did you mean `wall_ns`?"), "{text}");
    let text = error(&reader, "SELECT qqqqqq FROM v_invocation");
    assert!(text.contains("query --schema"), "{text}");
    let text = error(&reader, "SELECT 1\nFORM x");
    assert!(text.ends_with("  FORM x\n       ^"), "{text}");
}

#[test]
fn decimals_are_added_exactly() {
    let place = Place::new();
    let reader = place.reader();
    let sum = |values: &str| {
        let sql = format!("SELECT decimal_sum(column1) FROM (VALUES {values})");
        rows(&reader, &sql).remove(0).remove(0)
    };
    let text = |text: &str| Datum::Text(text.to_owned());
    // In binary floating point: 0.30000000000000004.
    assert_eq!(sum("('0.1'), ('0.2')"), text("0.3"));
    assert_eq!(sum("('0.1'), (NULL), (2)"), text("2.1"));
    assert_eq!(
        sum("('100000000000000000000'), ('0.00000000000000000001')"),
        text("100000000000000000000.00000000000000000001")
    );
    assert_eq!(sum("(NULL)"), Datum::Null);
    assert_eq!(rows(&reader, "SELECT decimal_sum('1') WHERE 0"), [[Datum::Null]]);
    // What a contract takes off a bill is below 0.
    assert_eq!(sum("('0.1'), ('-0.3')"), text("-0.2"));
    for (values, word) in [("(0.5)", "REAL"), ("('--1')", "--1"), ("('x')", "`x`")] {
        let text = error(&reader, &format!("SELECT decimal_sum(column1) FROM (VALUES {values})"));
        assert!(text.contains("decimal_sum") && text.contains(word), "{text}");
    }
}

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";

#[test]
fn endless_queries_end() {
    let place = Place::new();
    let reader = place.reader();
    let never = Cancel::from_flag(Arc::default());
    reader.watch_queries(never, Some(Duration::from_millis(50))).expect("watched");
    let begun = Instant::now();
    let result = reader.run_query(ENDLESS, &[], &mut Kept::default());
    assert!(matches!(result, Err(QueryError::Stopped(QueryStop::Timeout))), "{result:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));

    let cancel = Cancel::from_flag(Arc::default());
    reader.watch_queries(cancel.clone(), None).expect("watched");
    cancel.cancel();
    let result = reader.run_query(ENDLESS, &[], &mut Kept::default());
    assert!(matches!(result, Err(QueryError::Stopped(QueryStop::Cancelled))), "{result:?}");
}

#[test]
fn parameters_are_named() {
    let place = Place::new();
    let reader = place.reader();
    assert_eq!(reader.parameter_names("SELECT :a, $b, :a").expect("valid"), ["a", "b"]);
    assert!(reader.parameter_names("SELECT ?").is_err());
    let mut kept = Kept::default();
    let given = [("a".to_owned(), Datum::Integer(5))];
    reader.run_query("SELECT :a + 1 AS sum, :b AS b", &given, &mut kept).expect("valid");
    assert_eq!(kept.names, ["sum", "b"]);
    assert_eq!(kept.rows, [[Datum::Integer(6), Datum::Null]]);
}

#[test]
fn a_database_that_does_not_exist_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none.db");
    let error = SqlReader::open(&path).expect_err("refused").to_string();
    assert!(error.contains("there is no database") && error.contains("record"), "{error}");
    assert!(!path.exists());
}

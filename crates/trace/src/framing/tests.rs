//! Records of inputs that are read in pieces of any size, from any position on.

use std::io::{self, Read};

use super::*;

/// Gives a few bytes at a time, and perhaps an error in the end.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    fails: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(out.len()).min(self.rest.len());
        if count == 0 && self.fails {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut"));
        }
        out[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

const JSON: Framing = Framing::JsonValues { array_keys: &["events", "logEvents"] };

fn framer(bytes: &[u8], size: usize, framing: Framing) -> Framer<Pieces<'_>> {
    let source = Pieces { rest: bytes, size, fails: false };
    Framer::new(InputBuffer::new(source), framing, InputPosition::default())
}

fn describe<R: Read>(framer: &mut Framer<R>) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(frame) = framer.next_frame() {
        found.push(match frame {
            Frame::Record(record) => {
                format!("{}:{}", record.line, String::from_utf8_lossy(record.bytes))
            }
            Frame::Broken { cause, line, start } => {
                format!("{line}!{cause}:{}", String::from_utf8_lossy(start))
            }
        });
    }
    found
}

fn frames(text: &str, framing: Framing) -> Vec<String> {
    let found = describe(&mut framer(text.as_bytes(), usize::MAX, framing));
    for size in [1, 2, 3, 7] {
        assert_eq!(describe(&mut framer(text.as_bytes(), size, framing)), found, "{size}: {text}");
    }
    found
}

#[test]
fn lines_end_in_any_way() {
    assert_eq!(frames("\u{feff}a\r\nb\n\nc", Framing::Lines), ["1:a", "2:b", "3:", "4:c"]);
    assert!(frames("", Framing::Lines).is_empty());
}

#[test]
fn json_values_stand_in_lines_arrays_and_objects() {
    assert_eq!(
        frames("{\"a\":1}\n{\"a\":\"]}\\\"\"}", JSON),
        ["1:{\"a\":1}", "2:{\"a\":\"]}\\\"\"}"]
    );
    assert_eq!(frames("{\n \"a\": [1,\n2]\n}\n{}", JSON), ["1:{\n \"a\": [1,\n2]\n}", "5:{}"]);
    assert_eq!(frames("[{\"a\":1},\n [2], 3 ]\n[4]", JSON), ["1:{\"a\":1}", "2:[2]", "2:3", "3:4"]);
    let page = "{\"next\":{\"events\":[0]},\"events\":[{\"a\":1},{\"a\":2}],\"x\":[\"]}\"]}";
    assert_eq!(frames(page, JSON), ["1:{\"a\":1}", "1:{\"a\":2}"]);
    let twice = page.repeat(2);
    assert_eq!(frames(&twice, JSON).len(), 4, "pages after each other");
    assert_eq!(frames("{\"events\":[]}", JSON).len(), 0);
    assert_eq!(frames("12 true", JSON), ["1:12", "1:true"]);
}

#[test]
fn a_broken_json_value_costs_its_line() {
    for (broken, told) in [
        ("{\"a\": 1, ", "2!no JSON value:{\"a\": 1, \n"),
        ("{\"a\": \"b", "2!no JSON value:{\"a\": \"b\n"),
        ("{\"a\": {\"b\": 1}", "2!no JSON value:{\"a\": {\"b\": 1}\n"),
        ("{\"a\": [", "2!no JSON value:{\"a\": [\n"),
        ("\u{0}\u{0}", "2!no JSON value:\u{0}\u{0}\n"),
        ("}", "2!no JSON value:}\n"),
    ] {
        let text = format!("{{\"a\":1}}\n{broken}\n{{\"a\":2}}\n{{\"a\":3}}\n");
        let wanted = ["1:{\"a\":1}", told, "3:{\"a\":2}", "4:{\"a\":3}"];
        assert_eq!(frames(&text, JSON), wanted, "{broken}");
    }
    let cut = frames("[{\"a\":1},{\"a\":", JSON);
    assert_eq!(cut, ["1:{\"a\":1}", "1!cut off by the end of the input:{\"a\":"]);
    let cut = frames("{\"events\":[{\"a\":1},", JSON);
    assert_eq!(cut, ["1:{\"a\":1}", "1!an array that the end of the input cuts off:"]);
    let deep = "[".repeat(1_000_000);
    // The value, and the array around it.
    assert_eq!(describe(&mut framer(deep.as_bytes(), usize::MAX, JSON)).len(), 2);
}

#[test]
fn csv_rows_keep_their_quotes() {
    let text = "a,b\n\"x\n\"\"y\"\"\",2\r\n\n3,a\"\"b \"c\n\"\",\"\"\n\"\"\"\",1";
    assert_eq!(
        frames(text, Framing::Csv),
        ["1:a,b", "2:\"x\n\"\"y\"\"\",2", "5:3,a\"\"b \"c", "6:\"\",\"\"", "7:\"\"\"\",1"]
    );
    let open = frames("1,2\n\"3,4\n5,6\n", Framing::Csv);
    assert_eq!(open, ["1:1,2", "2!a quote that is not closed:\"3,4\n", "3:5,6"]);
}

#[test]
fn a_record_of_100_mb_is_skipped_in_constant_memory() {
    let long = 100_000_000;
    let line = |begin: &str, end: &str| {
        let mut text = b"{\"a\":0}\n".to_vec();
        text.extend_from_slice(begin.as_bytes());
        text.resize(text.len() + long, b'x');
        text.extend_from_slice(end.as_bytes());
        text.extend_from_slice(b"\n{\"a\":1}\n");
        text
    };
    for (framing, begin, end) in
        [(Framing::Lines, "", ""), (JSON, "{\"b\":\"", "\"}"), (Framing::Csv, "", "")]
    {
        let text = line(begin, end);
        let mut framer = framer(&text, usize::MAX, framing);
        let found = describe(&mut framer);
        assert_eq!(found.len(), 3, "{framing:?}");
        assert!(found[1].contains("more than 16 MiB") && found[1].len() < 400, "{}", found[1]);
        assert_eq!(found[2], "3:{\"a\":1}");
        assert!(framer.buffer.capacity() <= 40 << 20, "{} bytes", framer.buffer.capacity());
    }
}

#[test]
fn what_an_error_cuts_off_is_no_record() {
    for framing in [Framing::Lines, JSON, Framing::Csv] {
        let source = Pieces { rest: b"{\"a\":1}\n{\"a\":", size: 3, fails: true };
        let mut framer = Framer::new(InputBuffer::new(source), framing, InputPosition::default());
        assert_eq!(
            describe(&mut framer),
            ["1:{\"a\":1}", "2!cut off by the end of the input:{\"a\":"],
            "{framing:?}"
        );
        assert_eq!(framer.failure(), Some("cut"));
    }
}

proptest::proptest! {
    #[test]
    fn every_position_is_one_to_go_on_from(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{\"a\":1}", "\n", "[", "]", ",", "\"", "{\"events\":[", "}", "\\", "x", "1", "\r\n",
                "\u{0}", " ", "\"k\":",
            ]),
            0..40,
        ),
        size in 1_usize..9,
    ) {
        let text = parts.concat();
        for framing in [Framing::Lines, JSON, Framing::Csv] {
            let mut whole = framer(text.as_bytes(), usize::MAX, framing);
            let all = describe(&mut framer(text.as_bytes(), size, framing));
            proptest::prop_assert_eq!(whole.position(), InputPosition::default());
            let mut positions = vec![whole.position()];
            while whole.next_frame().is_some() {
                positions.push(whole.position());
            }
            proptest::prop_assert_eq!(positions.len(), all.len() + 1);
            for (index, position) in positions.iter().enumerate() {
                let rest = &text.as_bytes()[usize::try_from(position.byte).expect("small")..];
                let source = Pieces { rest, size, fails: false };
                let buffer = InputBuffer::new(source).at_position(position.byte, position.lines);
                let found = describe(&mut Framer::new(buffer, framing, *position));
                proptest::prop_assert_eq!(&found, &all[index..]);
            }
        }
    }
}

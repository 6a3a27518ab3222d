//! No lines panic, in the protocol or in the splitter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::lines::Splitter;
use roost_wire::telemetry::{Limits, Precision, line, lines};

fuzz_target!(|bytes: &[u8]| {
    match line(bytes, Precision::Nanoseconds, &Limits::default()) {
        Ok(points) => assert!(!points.is_empty() && points.len() <= bytes.len()),
        Err(error) => assert!(error.offset <= bytes.len()),
    }
    // One by one, they are the same unless one of them cannot be read; numbers only grow.
    if let Ok(each) = lines(bytes, Precision::Nanoseconds, &Limits::default(), &|_, value| value == "a") {
        let mut last = 0;
        for (number, _) in each {
            assert!(number > last);
            last = number;
        }
    }
    for splitter in [Splitter::new, Splitter::of_documents] {
        assert_eq!(split(splitter(64), bytes, bytes.len().max(1)), split(splitter(64), bytes, 3));
    }
});

fn split(mut splitter: Splitter, bytes: &[u8], size: usize) -> Option<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    for mut chunk in bytes.chunks(size) {
        while let Some(line) = splitter.next_line(&mut chunk).ok()? {
            lines.push(line.into_owned());
        }
    }
    lines.extend(splitter.finish().ok()?);
    Some(lines)
}

use roost_wire::coap::{Code, DecodeError, Kind, Request, Token, decode};

use crate::world::{empty, read, request};

/// What becomes of the bytes as a confirmable and as a non-confirmable message.
#[track_caller]
fn malformed(bytes: &[u8]) {
    assert_eq!(decode(bytes).unwrap_err(), DecodeError::Reset(0x1234), "{bytes:02x?}");
    for kind in [0x50, 0x60, 0x70] {
        let mut other = bytes.to_vec();
        other[0] = other[0] & 0xCF | (kind & 0x30);
        assert_eq!(decode(&other).unwrap_err(), DecodeError::Ignore, "{other:02x?}");
    }
}

#[test]
fn the_examples_of_the_specification_are_read() {
    // RFC 7252 appendix A, figure 16: GET /temperature and its answer.
    let get = [&[0x40, 1, 0x7D, 0x34, 0xBB][..], b"temperature"].concat();
    let message = decode(&get).unwrap();
    assert_eq!((message.kind, message.code, message.id), (Kind::Confirmable, Code::GET, 0x7D34));
    assert_eq!(message.options().collect::<Vec<_>>(), [(11, &b"temperature"[..])]);
    assert!(message.token.as_bytes().is_empty() && message.payload.is_empty());
    let answer = [&[0x60, 0x45, 0x7D, 0x34, 0xFF][..], b"22.3 C"].concat();
    let message = decode(&answer).unwrap();
    assert_eq!((message.kind, message.code), (Kind::Acknowledgement, Code::CONTENT));
    assert_eq!(message.payload, b"22.3 C");
    // Figure 17: with a token.
    let get = [&[0x41, 1, 0x7D, 0x35, 0x20, 0xBB][..], b"temperature"].concat();
    assert_eq!(decode(&get).unwrap().token, Token::new(&[0x20]).unwrap());
}

#[test]
fn c_01_short_datagrams_and_other_versions_are_ignored() {
    for bytes in [&[][..], &[0x40], &[0x40, 1], &[0x40, 1, 0]] {
        assert_eq!(decode(bytes).unwrap_err(), DecodeError::Ignore);
    }
    for version in [0x00, 0x80, 0xC0] {
        assert_eq!(decode(&[version, 1, 0x12, 0x34]).unwrap_err(), DecodeError::Ignore);
    }
}

#[test]
fn c_02_a_token_has_at_most_eight_bytes_and_is_all_there() {
    for length in 9..=15 {
        let mut bytes = vec![0x40 | length, 1, 0x12, 0x34];
        bytes.extend([0; 15]);
        malformed(&bytes);
    }
    malformed(&[0x44, 1, 0x12, 0x34, 1, 2, 3]);
    assert!(decode(&[0x48, 1, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
}

#[test]
fn c_03_an_empty_message_has_nothing_behind_its_id() {
    malformed(&[0x41, 0, 0x12, 0x34, 1]);
    malformed(&[0x40, 0, 0x12, 0x34, 0xFF, 1]);
    malformed(&[0x40, 0, 0x12, 0x34, 0x60]);
    assert!(decode(&empty(Kind::Reset, 7)).is_ok());
}

#[test]
fn c_04_code_classes_without_a_meaning_are_malformed() {
    for code in [0x20, 0x3F, 0x60, 0x80 | 0x40, 0xC1, 0xE1, 0xFF] {
        malformed(&[0x40, code, 0x12, 0x34]);
    }
    for code in [0x01, 0x1F, 0x41, 0x84, 0xA0] {
        assert!(decode(&[0x40, code, 0x12, 0x34]).is_ok(), "{code:02x}");
    }
}

#[test]
fn c_05_options_that_cannot_be_options_are_malformed() {
    for options in [
        &[0xF0][..],
        &[0xF1, 1],
        &[0x0F],
        &[0x0F, 1],
        &[0xD0],
        &[0xE0, 1],
        &[0x0D],
        &[0x0E, 1],
        &[0xB2, b'a'],
        &[0xBD, 0xFF, b'a'],
        &[0xBE, 0xFF, 0xFF, b'a'],
        // 65,804 alone is beyond the highest number; 65,535 + 1 is, too (CVE-2020-12887).
        &[0xE0, 0xFF, 0xFF],
        &[0xE0, 0xFE, 0xF2, 0x10],
    ] {
        malformed(&[&[0x40, 1, 0x12, 0x34], options].concat());
    }
    let highest = [0x40, 1, 0x12, 0x34, 0xE0, 0xFE, 0xF2];
    assert_eq!(decode(&highest).unwrap().options().next(), Some((65_535, &[][..])));
}

#[test]
fn c_06_a_marker_without_a_payload_is_malformed() {
    malformed(&[0x40, 1, 0x12, 0x34, 0xFF]);
    malformed(&[0x40, 1, 0x12, 0x34, 0xB1, b'a', 0xFF]);
}

#[test]
fn c_07_what_is_critical_and_wrong_refuses_and_what_is_elective_does_not_count() {
    let get = || request(Code::GET, 1);
    for bad in [
        get().option(9, []),
        get().option(65_535, []),
        get().option(3, []),
        get().option(5, [1]),
        get().option(7, [1, 2, 3]),
        get().option(17, [1, 2, 3]),
        get().option(23, [1, 2, 3, 4]),
        get().option(27, [1, 2, 3, 4]),
        get().option(11, [b'a'; 256]),
        get().uint(17, 50).uint(17, 60),
        get().uint(23, 0).uint(23, 16),
        get().option(5, []).option(5, []),
    ] {
        assert_eq!(read(&bad).unwrap_err().code, Code::BAD_OPTION, "{:?}", bad.options);
    }
    for fine in [
        get().option(2, [1]),
        get().option(6, [1, 2, 3, 4]),
        get().option(12, [1, 2, 3]),
        get().uint(6, 0).uint(6, 1),
        get().option(28, [0; 9]),
        get().option(252, [0; 41]),
        get().option(65_534, [0; 300]),
        get().option(292, [1]).option(292, [2]),
    ] {
        assert_eq!(read(&fine), Ok(()), "{:?}", fine.options);
    }
}

#[test]
fn c_30_conditions_of_a_bad_length_are_as_other_bad_options() {
    let put = || request(Code::PUT, 1);
    assert_eq!(read(&put().option(1, [0; 9])).unwrap_err().code, Code::BAD_OPTION);
    assert_eq!(read(&put().option(5, [0])).unwrap_err().code, Code::BAD_OPTION);
    assert_eq!(read(&put().option(1, []).option(1, [0; 8])), Ok(()));
    // An etag of a bad length is one that the client does not have.
    let bytes = request(Code::GET, 1).option(4, []).option(4, [1; 9]).option(4, [2; 8]).bytes();
    let etags: Vec<_> = Request::read(decode(&bytes).unwrap()).unwrap().etags().collect();
    assert_eq!(etags, [[2; 8]]);
}

#[test]
fn c_09_a_proxy_is_not_here() {
    for number in [35, 39] {
        assert_eq!(read(&request(Code::GET, 1).option(number, "coap")).unwrap_err().code, Code::PROXYING);
    }
}

#[test]
fn c_08_a_path_is_its_segments_and_nothing_is_made_of_them() {
    let segments = |build: &crate::world::Build| {
        let bytes = build.bytes();
        let request = Request::read(decode(&bytes).unwrap()).unwrap();
        request.path().map(|path| path.iter().map(|segment| (*segment).to_owned()).collect::<Vec<_>>())
    };
    let odd = request(Code::GET, 1).option(11, "..").option(11, "").option(11, "a/b").option(11, "%2e");
    assert_eq!(segments(&odd).unwrap(), ["..", "", "a/b", "%2e"]);
    let many = (0..255).fold(request(Code::GET, 1), |build, _| build.option(11, "a"));
    assert_eq!(segments(&many).unwrap().len(), 255);
    assert_eq!(
        segments(&request(Code::GET, 1).option(11, [0xC0, 0x80])).unwrap_err().code,
        Code::BAD_REQUEST
    );
}

#[test]
fn what_a_request_says_is_found_in_it() {
    let bytes = request(Code::PUT, 1)
        .path("me/documents/x")
        .uint(6, 0)
        .uint(12, 60)
        .option(15, "a=b")
        .option(15, "token=secret=1")
        .uint(17, 50)
        .uint(23, 0x22)
        .uint(27, 0x3E)
        .uint(60, 70_000)
        .option(252, [9; 16])
        .uint(258, 2)
        .payload("x")
        .bytes();
    let request = Request::read(decode(&bytes).unwrap()).unwrap();
    assert_eq!(request.path().unwrap(), ["me", "documents", "x"]);
    assert_eq!(
        (request.query("token"), request.query("b"), request.query("a")),
        (Some("secret=1"), None, Some("b"))
    );
    assert_eq!((request.observe, request.no_response, request.size1), (Some(0), 2, Some(70_000)));
    assert_eq!((request.content_format.unwrap().0, request.accept.unwrap().0), (60, 50));
    let block = request.block2.unwrap();
    assert_eq!((block.number, block.more, block.szx, block.size()), (2, false, 2, 64));
    assert_eq!(request.echo, Some(&[9; 16][..]));
}

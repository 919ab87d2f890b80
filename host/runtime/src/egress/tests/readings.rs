//! What is allowed below a folder stays below it, however a server reads the path.
//!
//! The other side of the bargain is played by a naive model of the servers there are: each
//! decodes some number of times, may read `\` as `/`, end the path at a `?` or `#`, cut off
//! parameters, trim and merge, and resolve dots after that, and behind it may stand another one
//! that does all of it again.

use crate::egress::{CheckedUrl, HttpPattern};

const TOKENS: &[&str] = &[
    "a",
    "b",
    "v1",
    "admin",
    ".",
    "..",
    "...",
    "/",
    "/",
    "//",
    "%2e",
    "%2E",
    "%2f",
    "%2F",
    "%5c",
    "%252e",
    "%252f",
    "%255c",
    "%25",
    "%2525",
    "%32",
    "%65",
    "%66",
    ";",
    ";x=1",
    "%3b",
    "%3f",
    "%23",
    "%253F",
    "%20",
    "%09",
    "%c0%ae",
    "%c0%af",
    "%e0%80%af",
    "*",
    "%2a",
    "~",
    "%u002e",
];

#[derive(Clone, Copy, Debug)]
struct Reader {
    decodes: usize,
    backslash: bool,
    ends: bool,
    parameters: bool,
    trims: bool,
    overlong: bool,
}

impl Reader {
    /// All kinds there are.
    fn all() -> Vec<Reader> {
        let mut all = Vec::new();
        for decodes in 0..4 {
            for bits in 0..32 {
                let bit = |n: u32| bits >> n & 1 == 1;
                let (backslash, parameters) = (bit(0), bit(1));
                let (trims, overlong, ends) = (bit(2), bit(3), bit(4));
                all.push(Reader { decodes, backslash, ends, parameters, trims, overlong });
            }
        }
        all
    }

    /// The path as this reader passes it on: dots resolved, empty segments merged.
    fn read(self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        for _ in 0..self.decodes {
            path = decode(&path);
            if self.overlong {
                path = shorten(&path);
            }
        }
        if self.ends {
            let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
            path.truncate(end);
        }
        let mut kept: Vec<&[u8]> = Vec::new();
        for segment in path.split(|&b| b == b'/' || (self.backslash && b == b'\\')) {
            let mut segment = segment;
            if self.parameters {
                segment = segment.split(|&b| b == b';').next().unwrap();
            }
            if self.trims {
                segment = segment.trim_ascii();
            }
            match segment {
                b"" | b"." => {}
                b".." => {
                    kept.pop();
                }
                _ => kept.push(segment),
            }
        }
        let mut out = Vec::new();
        for segment in kept {
            out.push(b'/');
            out.extend_from_slice(segment);
        }
        out
    }
}

fn decode(path: &[u8]) -> Vec<u8> {
    let hex = |b: u8| (b as char).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::new();
    let mut i = 0;
    while i < path.len() {
        let digits =
            (path.get(i + 1).copied().and_then(hex), path.get(i + 2).copied().and_then(hex));
        match (path[i], digits) {
            (b'%', (Some(high), Some(low))) => {
                out.push(high << 4 | low);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    out
}

/// Overlong UTF-8 as lenient decoders take it.
fn shorten(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    loop {
        rest = match rest {
            [] => return out,
            [lead @ 0xc0..=0xc1, low @ 0x80..=0xbf, rest @ ..] => {
                out.push((lead & 3) << 6 | low & 0x3f);
                rest
            }
            [0xe0, high @ 0x80..=0x81, low @ 0x80..=0xbf, rest @ ..] => {
                out.push((high & 1) << 6 | low & 0x3f);
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        };
    }
}

#[test]
fn no_reader_leaves_the_folder() {
    let pattern: HttpPattern = "GET https://h.example/v1/**".parse().unwrap();
    let readers = Reader::all();
    // A fixed seed: the same paths in every run (xorshift, Marsaglia 2003).
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut allowed, mut refused) = (0, 0);
    for _ in 0..40_000 {
        let mut path = "/v1/".to_owned();
        for _ in 0..=random(8) {
            path.push_str(TOKENS[random(TOKENS.len())]);
        }
        let Ok(url) = CheckedUrl::parse(&format!("https://h.example{path}")) else {
            refused += 1;
            continue;
        };
        if !pattern.matches("GET", &url) {
            refused += 1;
            continue;
        }
        allowed += 1;
        let sent = url.as_url().path().as_bytes();
        for first in &readers {
            let once = first.read(sent);
            assert!(below_v1(&once), "{path}: {} to {first:?}", String::from_utf8_lossy(&once));
            // Behind a proxy that has changed the path already, one kind of server is enough:
            // the one that does the most.
            let last = Reader {
                decodes: 2,
                backslash: true,
                ends: true,
                parameters: true,
                trims: true,
                overlong: true,
            };
            let twice = last.read(&once);
            assert!(
                below_v1(&twice),
                "{path}: {} behind {first:?}",
                String::from_utf8_lossy(&twice)
            );
        }
    }
    // Both sides are met often enough to mean something.
    assert!(allowed > 5_000 && refused > 5_000, "{allowed} allowed, {refused} refused");
}

fn below_v1(path: &[u8]) -> bool {
    path == b"/v1" || path.starts_with(b"/v1/")
}

#[test]
fn the_model_knows_the_tricks() {
    let plain = Reader {
        decodes: 1,
        backslash: false,
        ends: false,
        parameters: false,
        trims: false,
        overlong: false,
    };
    for (path, reader) in [
        ("/v1/..%2fadmin", plain),
        ("/v1/%252e%252e/admin", Reader { decodes: 2, ..plain }),
        ("/v1/..%5cadmin", Reader { backslash: true, ..plain }),
        ("/v1/a/..%2f..%2fadmin%3f", Reader { ends: true, ..plain }),
        ("/v1/..;/admin", Reader { parameters: true, ..plain }),
        ("/v1/..%20/admin", Reader { trims: true, ..plain }),
        ("/v1/%c0%ae%c0%ae/admin", Reader { overlong: true, ..plain }),
        ("/v1/%e0%80%ae./admin", Reader { overlong: true, ..plain }),
    ] {
        assert_eq!(reader.read(path.as_bytes()), b"/admin", "{path}");
    }
    assert_eq!(Reader { ends: true, ..plain }.read(b"/v1/a/..%2f..%3f/a"), b"");
}

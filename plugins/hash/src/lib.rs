//! Digests of text and bytes.
//!
//! Parity with SmythOS's hash component, which needs an encoding and gives a raw buffer without
//! one: here it is hex. An object as data is an error there and here.

use ampoule_sdk::BlobRef;
use ampoule_sdk::prelude::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use digest::{Digest, DynDigest};

/// Bytes of a blob that are read at once.
const CHUNK: u64 = 1 << 20;

/// What to hash, and how.
#[data]
struct Hashing {
    /// The text, or `{"$blob": "id"}` for the bytes of a blob.
    data: Data,
    /// The algorithm. MD5, SHA-1 and CRC-32 are for checksums of old systems, not for security.
    algorithm: Algorithm,
    /// What `data` is written in. Default: the text itself, as UTF-8.
    #[serde(default)]
    input_encoding: InputEncoding,
    /// What the digest is written in.
    #[serde(default)]
    encoding: Encoding,
    /// One digest for each line of the text instead of one for all; line breaks do not count.
    #[serde(default)]
    lines: bool,
}

/// A text or a blob.
#[data]
#[serde(untagged)]
enum Data {
    /// A text.
    Text(String),
    /// Bytes kept as a blob.
    Blob(BlobRef),
}

/// The algorithms.
#[data]
#[derive(Copy, PartialEq)]
enum Algorithm {
    Crc32,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    #[serde(rename = "sha3-256")]
    Sha3_256,
    #[serde(rename = "sha3-384")]
    Sha3_384,
    #[serde(rename = "sha3-512")]
    Sha3_512,
    #[serde(rename = "blake2b-512")]
    Blake2b512,
    Blake3,
}

/// What the input is written in.
#[data]
#[derive(Copy, Default)]
enum InputEncoding {
    #[default]
    Utf8,
    Hex,
    Base64,
}

/// What the digest is written in.
#[data]
#[derive(Copy, Default)]
enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64url,
}

/// The digest.
#[data]
struct Hashed {
    /// The digest; absent where there is one for each line.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// A digest for each line.
    #[serde(skip_serializing_if = "Option::is_none")]
    digests: Option<Vec<String>>,
    /// How many bytes were hashed.
    bytes: u64,
}

/// Compute the digest of a text, of encoded bytes or of a blob, or of each line of a text.
#[tool]
fn hash(hashing: Hashing) -> Result<Hashed> {
    let Hashing { data, algorithm, input_encoding, encoding, lines } = hashing;
    match data {
        Data::Blob(blob) if lines => {
            let size = blob.open()?.size();
            Err(Error::bad_arguments(format!(
                "`lines` is for texts; this is a blob of {size} bytes"
            )))
        }
        Data::Blob(blob) => {
            let blob = blob.open()?;
            let mut state = State::new(algorithm);
            let mut read = 0;
            loop {
                let part = blob.read(read, CHUNK);
                if part.is_empty() {
                    break;
                }
                state.update(&part);
                read += part.len() as u64;
            }
            Ok(Hashed {
                digest: Some(write(&state.finish(), encoding)),
                digests: None,
                bytes: read,
            })
        }
        Data::Text(text) if lines => {
            let digests =
                text.lines().map(|line| digest_of(line, algorithm, input_encoding, encoding));
            let digests: Vec<_> = digests.collect::<Result<Vec<(String, u64)>>>()?;
            let bytes = digests.iter().map(|(_, bytes)| bytes).sum();
            let digests = digests.into_iter().map(|(digest, _)| digest).collect();
            Ok(Hashed { digest: None, digests: Some(digests), bytes })
        }
        Data::Text(text) => {
            let (digest, bytes) = digest_of(&text, algorithm, input_encoding, encoding)?;
            Ok(Hashed { digest: Some(digest), digests: None, bytes })
        }
    }
}

ampoule_sdk::export!(hash);

fn digest_of(
    text: &str,
    algorithm: Algorithm,
    from: InputEncoding,
    to: Encoding,
) -> Result<(String, u64)> {
    let decoded;
    let bytes = match from {
        InputEncoding::Utf8 => text.as_bytes(),
        InputEncoding::Hex => {
            decoded = hex::decode(text.trim()).map_err(|e| not_encoded("hex", &e))?;
            &decoded
        }
        InputEncoding::Base64 => {
            decoded = STANDARD.decode(text.trim()).map_err(|e| not_encoded("base64", &e))?;
            &decoded
        }
    };
    let mut state = State::new(algorithm);
    state.update(bytes);
    Ok((write(&state.finish(), to), bytes.len() as u64))
}

fn not_encoded(encoding: &str, why: &dyn std::fmt::Display) -> Error {
    Error::bad_arguments(format!("`data` is not {encoding}, as `input_encoding` says: {why}"))
}

fn write(digest: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => hex::encode(digest),
        Encoding::Base64 => STANDARD.encode(digest),
        Encoding::Base64url => URL_SAFE_NO_PAD.encode(digest),
    }
}

/// A digest under way.
enum State {
    Crc32(crc32fast::Hasher),
    Blake3(Box<blake3::Hasher>),
    Other(Box<dyn DynDigest>),
}

impl State {
    fn new(algorithm: Algorithm) -> State {
        State::Other(match algorithm {
            Algorithm::Crc32 => return State::Crc32(crc32fast::Hasher::new()),
            Algorithm::Blake3 => return State::Blake3(Box::new(blake3::Hasher::new())),
            Algorithm::Md5 => Box::new(md5::Md5::new()),
            Algorithm::Sha1 => Box::new(sha1::Sha1::new()),
            Algorithm::Sha224 => Box::new(sha2::Sha224::new()),
            Algorithm::Sha256 => Box::new(sha2::Sha256::new()),
            Algorithm::Sha384 => Box::new(sha2::Sha384::new()),
            Algorithm::Sha512 => Box::new(sha2::Sha512::new()),
            Algorithm::Sha3_256 => Box::new(sha3::Sha3_256::new()),
            Algorithm::Sha3_384 => Box::new(sha3::Sha3_384::new()),
            Algorithm::Sha3_512 => Box::new(sha3::Sha3_512::new()),
            Algorithm::Blake2b512 => Box::new(blake2::Blake2b512::new()),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            State::Crc32(state) => state.update(bytes),
            State::Blake3(state) => drop(state.update(bytes)),
            State::Other(state) => state.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            State::Crc32(state) => state.finalize().to_be_bytes().to_vec(),
            State::Blake3(state) => state.finalize().as_bytes().to_vec(),
            State::Other(state) => state.finalize().into_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(arguments: Value) -> Result<Value> {
        let hashing = ampoule_sdk::serde_json::from_value(arguments)?;
        Ok(ampoule_sdk::serde_json::to_value(hash(hashing)?)?)
    }

    /// The standards' own test vectors for `abc`.
    #[test]
    fn the_known_digests_of_abc() {
        for (algorithm, expected) in [
            ("crc32", "352441c2"),
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
            ("blake3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ] {
            let value = hashed(json!({ "data": "abc", "algorithm": algorithm })).expect("hashed");
            assert_eq!(value, json!({ "digest": expected, "bytes": 3 }), "{algorithm}");
        }
        for (algorithm, begins) in [
            ("sha384", "cb00753f45a35e8bb5a03d699ac65007"),
            ("sha512", "ddaf35a193617abacc417349ae204131"),
            ("sha3-384", "ec01498288516fc926459f58e2c6ad8d"),
            ("sha3-512", "b751850b1a57168a5693cd924b6b096e"),
            ("blake2b-512", "ba80a53f981c4d0d6a2797b69f12f6e9"),
        ] {
            let value = hashed(json!({ "data": "abc", "algorithm": algorithm })).expect("hashed");
            assert!(value["digest"].as_str().is_some_and(|d| d.starts_with(begins)), "{algorithm}");
        }
    }

    #[test]
    fn encodings_and_lines() {
        let md5 = |extra: Value| {
            let mut arguments = json!({ "data": "abc", "algorithm": "md5" });
            for (key, value) in extra.as_object().expect("an object") {
                arguments[key] = value.clone();
            }
            hashed(arguments)
        };
        let digest = |extra: Value| md5(extra).expect("hashed")["digest"].clone();
        assert_eq!(digest(json!({ "encoding": "base64" })), "kAFQmDzST7DWlj99KOF/cg==");
        assert_eq!(digest(json!({ "encoding": "base64url" })), "kAFQmDzST7DWlj99KOF_cg");
        let plain = digest(json!({}));
        assert_eq!(digest(json!({ "data": "616263", "input_encoding": "hex" })), plain);
        assert_eq!(digest(json!({ "data": "YWJj", "input_encoding": "base64" })), plain);
        let lines = md5(json!({ "data": "abc\r\nabc\n\n", "lines": true })).expect("hashed");
        assert_eq!(lines["digests"][0], plain);
        assert_eq!(lines["digests"][1], plain);
        assert_eq!(lines["digests"].as_array().map(Vec::len), Some(3));
        assert_eq!(lines["bytes"], 6);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for arguments in [
            json!({ "data": "xyz", "algorithm": "md5", "input_encoding": "hex" }),
            json!({ "data": "*", "algorithm": "md5", "input_encoding": "base64" }),
        ] {
            let error = hashed(arguments).expect_err("refused");
            assert_eq!(error.code, "bad-arguments");
            assert!(error.message.starts_with("`data` is not "), "{}", error.message);
        }
        for arguments in [
            json!({ "data": {}, "algorithm": "md5" }),
            json!({ "data": [1], "algorithm": "md5" }),
            json!({ "data": "a", "algorithm": "md4" }),
            json!({ "data": "a" }),
        ] {
            assert!(hashed(arguments).is_err());
        }
    }
}

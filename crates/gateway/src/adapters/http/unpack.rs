//! Bodies that come compressed are unpacked piece by piece as they are read, within a bound (H-11).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::{self, HeaderValue};
use http_body::Frame;
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::gunzip::Gunzip;
use crate::problem::Problem;

/// How many times its size a body may have unpacked, once it is large.
const RATIO_MAX: u64 = 10;
/// The largest body that is read whole, unpacked; of a stream, from where on the ratio counts.
pub(in crate::adapters) const UNPACKED_MAX: usize = 8 * 1024 * 1024;
/// How much is unpacked at once.
const PIECE_LENGTH: usize = 32 * 1024;
/// The largest window of zstd as a power of two: 8 MiB (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// Why a body cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum UnpackError {
    /// It would become too large.
    #[error("unpacked, the body is larger than it may be")]
    TooLarge,
    /// It is not what its `Content-Encoding` says, or breaks off.
    #[error("the body is not what its Content-Encoding says, or it breaks off")]
    Damaged,
}

/// How large a body may become.
#[derive(Clone, Copy, Debug)]
pub(in crate::adapters) struct Bound {
    /// So many bytes are taken whatever the ratio.
    always: u64,
    /// More are not taken whatever the ratio.
    never: u64,
}

impl Bound {
    /// For a body that is read whole; uncompressed, it may have `length_max` bytes.
    pub(in crate::adapters) fn whole(length_max: usize) -> Self {
        let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Self { always: number(length_max), never: number(length_max.max(UNPACKED_MAX)) }
    }

    /// For lines that are taken as they come.
    pub(in crate::adapters) fn lines() -> Self {
        Self { never: u64::MAX, ..Self::whole(UNPACKED_MAX) }
    }

    fn allows(self, received: u64, given: u64) -> bool {
        given <= received.saturating_mul(RATIO_MAX).clamp(self.always, self.never)
    }
}

enum Unpacker {
    Gzip(Box<Gunzip>),
    Zstd {
        decoder: Decoder<'static>,
        /// Whether a frame is begun; frames may follow one another.
        is_within: bool,
        is_begun: bool,
    },
}

/// The coding of a body.
fn unpacker(headers: &HeaderMap) -> Result<Option<Unpacker>, Problem> {
    let refusal = |detail: &'static str| {
        Problem::media_type(detail).header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))
    };
    let mut coding = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().unwrap_or("unreadable").split(',').map(|name| name.trim()) {
            let found = match name.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Unpacker::Gzip(Box::new(Gunzip::new())),
                "zstd" => zstd()?,
                _ => return Err(refusal("Send the body as it is, or with Content-Encoding: gzip or zstd.")),
            };
            if coding.replace(found).is_some() {
                return Err(refusal("Compress the body once: one Content-Encoding, gzip or zstd."));
            }
        }
    }
    Ok(coding)
}

fn zstd() -> Result<Unpacker, Problem> {
    let made = Decoder::new().and_then(|mut decoder| {
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(decoder)
    });
    // It only fails where there is no memory.
    let decoder = made.map_err(|_no_memory| Problem::unavailable("There is no memory to unpack this."))?;
    Ok(Unpacker::Zstd { decoder, is_within: false, is_begun: false })
}

/// The body as it is meant, whatever its `Content-Encoding`, and whether it was packed.
///
/// # Errors
/// 415: a coding that is not known, or one within another.
pub(in crate::adapters) fn plain(headers: &HeaderMap, body: Body, bound: Bound) -> Result<Body, Problem> {
    Ok(match unpacker(headers)? {
        None => body,
        Some(unpacker) => {
            Body::new(Unpacked { packed: body, unpacker, rest: Bytes::new(), received: 0, given: 0, bound })
        }
    })
}

impl Unpacker {
    /// Takes some of the input and gives what came out; nothing once the input is used up.
    fn run(&mut self, input: &mut Bytes) -> Result<Vec<u8>, UnpackError> {
        let mut output = vec![0; PIECE_LENGTH];
        let given = match self {
            Self::Gzip(gunzip) => gunzip.run(input, &mut output)?,
            Self::Zstd { decoder, is_within, is_begun } => loop {
                if input.is_empty() && !*is_within {
                    break 0;
                }
                let status = decoder.run_on_buffers(input, &mut output);
                let status = status.map_err(|_damaged| UnpackError::Damaged)?;
                input.advance(status.bytes_read);
                (*is_within, *is_begun) = (status.remaining != 0, true);
                if status.bytes_written > 0 || status.bytes_read == 0 {
                    break status.bytes_written;
                }
            },
        };
        output.truncate(given);
        Ok(output)
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(gunzip) => gunzip.is_complete(),
            Self::Zstd { is_within, is_begun, .. } => *is_begun && !is_within,
        }
    }
}

/// A body that is unpacked while it is read.
struct Unpacked {
    packed: Body,
    unpacker: Unpacker,
    /// What of the last piece has not been unpacked yet.
    rest: Bytes,
    received: u64,
    given: u64,
    bound: Bound,
}

impl http_body::Body for Unpacked {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        loop {
            let piece = match this.unpacker.run(&mut this.rest) {
                Ok(piece) => piece,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            if !piece.is_empty() {
                this.given = this.given.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                if !this.bound.allows(this.received, this.given) {
                    return Poll::Ready(Some(Err(UnpackError::TooLarge.into())));
                }
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
            match ready!(Pin::new(&mut this.packed).poll_frame(context)) {
                Some(Ok(frame)) => {
                    this.rest = frame.into_data().unwrap_or_default();
                    let length = u64::try_from(this.rest.len()).unwrap_or(u64::MAX);
                    this.received = this.received.saturating_add(length);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None if this.unpacker.is_complete() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(UnpackError::Damaged.into()))),
            }
        }
    }
}

//! Answers as files, handed out in pieces while they are made.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::reading::ValueRef;
use roost_hub::storage::Position;
use tokio::sync::mpsc;

use crate::columns::{self, Columns, Layout, ROW_GROUP_LENGTH, RowRef};
use crate::csv;
use crate::history::History;
use crate::query::{Point, PointStream, QueryError, Selection};

/// Pieces that wait for a slow reader; when they are full, the export waits.
const PIECES_LENGTH: usize = 4;
/// The size of a piece, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a head line.
    Csv,
    /// Parquet, with the columns of the history files except `position`.
    Parquet,
}

/// The pieces of a file. Dropping it ends the export.
#[derive(Debug)]
pub struct Export(mpsc::Receiver<Result<Bytes, QueryError>>);

impl Export {
    /// The next piece; `None` when the file is complete. After an error it is not complete, and
    /// nothing more comes. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, QueryError>> {
        self.0.recv().await
    }
}

impl History {
    /// All points of a selection, as a file in pieces.
    ///
    /// # Errors
    /// [`QueryError`], when it shows before the first piece; otherwise it comes as a piece.
    pub async fn export(
        self: &Arc<Self>,
        tenant: &TenantId,
        device: &DeviceId,
        selection: &Selection,
        format: Format,
    ) -> Result<Export, QueryError> {
        let (tenant, owner, key) = (tenant.clone(), device.clone(), Arc::clone(&selection.key));
        let selection = selection.clone();
        let of = owner.clone();
        let stream = self
            .ask(move |history, durable| history.stream(&tenant, &of, &selection, (selection.from, durable)))
            .await?;
        let (pieces, receiver) = mpsc::channel(PIECES_LENGTH);
        // It ends by itself: when the file is complete, or when the receiver is gone.
        drop(tokio::task::spawn_blocking(move || {
            let out = BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
            let done = match format {
                Format::Csv => write_csv(out, &csv::names(owner.as_str(), &key), stream),
                Format::Parquet => write_parquet(out, (owner.as_str(), &key), stream),
            };
            if let Err(error) = done {
                drop(pieces.blocking_send(Err(error)));
            }
        }));
        Ok(Export(receiver))
    }
}

struct Pieces(mpsc::Sender<Result<Bytes, QueryError>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_gone| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The only way in which writing can fail: nobody reads any more.
fn gone<E>(_error: E) -> QueryError {
    QueryError::Ended
}

fn write_csv(mut out: impl Write, names: &str, stream: PointStream) -> Result<(), QueryError> {
    out.write_all(csv::HEAD).map_err(gone)?;
    for point in stream {
        csv::write_point(&mut out, names, &point?).map_err(gone)?;
    }
    out.flush().map_err(gone)
}

fn write_parquet(
    out: impl Write + Send,
    (device, key): (&str, &str),
    stream: PointStream,
) -> Result<(), QueryError> {
    let start = || -> Result<_, ParquetError> {
        ArrowWriter::try_new(out, columns::schema(Layout::Answer), Some(columns::properties()?))
    };
    let mut writer = start().map_err(gone)?;
    let mut columns = Columns::new(Layout::Answer);
    for point in stream {
        let Point { ts, value, quality } = point?;
        let value = ValueRef::from(&value);
        columns.push_all(device, key, [RowRef { ts, position: Position(0), value, quality }]);
        if columns.len() >= ROW_GROUP_LENGTH {
            let full = std::mem::replace(&mut columns, Columns::new(Layout::Answer));
            writer.write(&full.finish().map_err(gone)?).map_err(gone)?;
        }
    }
    writer.write(&columns.finish().map_err(gone)?).map_err(gone)?;
    writer.close().map_err(gone)?;
    Ok(())
}

//! The forms in which events leave: an array, a line each, and a table.

use axum::Json;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::download::download;
use super::{EventView, Reader};
use crate::error::Result;
use crate::events::{Event, Walk};
use crate::http::accept::preferred;

/// In which form to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An array.
    Json,
    /// An object a line.
    Ndjson,
    /// A table (RFC 4180).
    Csv,
}

const FORMS: [(&str, Form); 3] =
    [("application/json", Form::Json), ("application/x-ndjson", Form::Ndjson), ("text/csv", Form::Csv)];

/// The columns of a table. New ones come last: people count them.
const COLUMNS: [&str; 14] = [
    "id",
    "createdAt",
    "service",
    "user",
    "method",
    "path",
    "ip",
    "userAgent",
    "requestId",
    "startTime",
    "endTime",
    "httpStatusCode",
    "bytesOut",
    "serviceData",
];

impl Form {
    /// The form that a client would have.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let wanted = preferred(headers, &FORMS.map(|(media_type, _)| media_type));
        FORMS.into_iter().find(|(media_type, _)| *media_type == wanted).map_or(Self::Json, |(_, form)| form)
    }

    /// An answer with these events.
    pub fn page(self, events: Vec<Event>) -> Result<Response> {
        if self == Self::Json {
            let views: Vec<EventView> = events.into_iter().map(EventView::from).collect();
            return Ok(([(VARY, "accept")], Json(views)).into_response());
        }
        let mut body = self.head()?;
        self.write(events, &mut body)?;
        Ok(self.described(body.into_response()))
    }

    /// An answer with all events of a walk; not an array.
    pub fn all(self, walk: Walk, reader: Reader) -> Result<Response> {
        let write = move |events, piece: &mut Vec<u8>| self.write(events, piece);
        Ok(self.described(download(self.head()?, walk, reader, write, "")))
    }

    fn described(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept"));
        if self == Self::Csv {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
            headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"bloq-events.csv\""));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        }
        response
    }

    /// What stands before the first event.
    fn head(self) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        if self == Self::Csv {
            table(&mut head, |table| table.write_record(COLUMNS))?;
        }
        Ok(head)
    }

    fn write(self, events: Vec<Event>, piece: &mut Vec<u8>) -> Result<()> {
        if self == Self::Csv {
            return table(piece, |table| {
                events.into_iter().try_for_each(|event| table.write_record(cells(event.into())))
            });
        }
        for event in events {
            serde_json::to_writer(&mut *piece, &EventView::from(event)).map_err(anyhow::Error::from)?;
            piece.push(b'\n');
        }
        Ok(())
    }
}

/// Adds to a table. Every cell is quoted: what is in it then begins no other one.
fn table(
    piece: &mut Vec<u8>,
    fill: impl FnOnce(&mut csv::Writer<&mut Vec<u8>>) -> Result<(), csv::Error>,
) -> Result<()> {
    let mut builder = csv::WriterBuilder::new();
    builder.terminator(csv::Terminator::CRLF).quote_style(csv::QuoteStyle::Always);
    let mut table = builder.from_writer(piece);
    fill(&mut table).map_err(anyhow::Error::from)?;
    Ok(table.flush().map_err(anyhow::Error::from)?)
}

fn cells(event: EventView) -> [String; COLUMNS.len()] {
    [
        event.id,
        event.created_at.to_string(),
        event.service,
        event.user.unwrap_or_default(),
        event.input.method,
        event.input.path,
        event.input.ip.unwrap_or_default(),
        event.input.user_agent.unwrap_or_default(),
        event.input.request_id,
        event.output.start_time.to_string(),
        event.output.end_time.to_string(),
        event.output.http_status_code.to_string(),
        event.output.bytes_out.to_string(),
        event.service_data.to_string(),
    ]
    .map(harmless)
}

/// What spreadsheets begin a cell behind, each in its country, quoted or not.
const SEPARATORS: [char; 5] = [',', ';', '\t', '\r', '\n'];

/// A cell that no spreadsheet runs: what could be a formula begins with an apostrophe, as OWASP advises ("CSV Injection").
/// That goes for the cell and for each part that a spreadsheet may take for one.
fn harmless(cell: String) -> String {
    if !cell.split_inclusive(SEPARATORS).any(is_formula) {
        return cell;
    }
    let parts = cell.split_inclusive(SEPARATORS);
    parts.flat_map(|part| [if is_formula(part) { "'" } else { "" }, part]).collect()
}

/// Spreadsheets drop spaces and quotes before they look, and take the wide signs of East Asia for the narrow ones.
fn is_formula(part: &str) -> bool {
    let seen = part.trim_start_matches([' ', '"', '\'', '\u{feff}']);
    seen.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-2", "@SUM(A1)", "\t1", "\r1", "\n1", "\"=1", " =1", "' \"=1", "＝1", "\u{feff}=1"]
        {
            assert_eq!(harmless(cell.into()), format!("'{cell}"), "{cell:?}");
        }
        for (cell, expected) in [
            ("x;=cmd|'/c calc'!A1;", "x;'=cmd|'/c calc'!A1;"),
            ("=1,=2;\"=3", "'=1,'=2;'\"=3"),
            ("x; ' +1", "x;' ' +1"),
            ("x\t@1\r-1\n=1", "x\t'@1\r'-1\n'=1"),
            ("\t=1", "'\t'=1"),
            ("\r\n=1", "'\r'\n'=1"),
        ] {
            assert_eq!(harmless(cell.into()), expected, "{cell:?}");
        }
        for cell in ["", "curl/8.5.0", "a=b", "1-2", "{\"=\":1}", "/users/me", "x (y, z; a=b)", "x;y\tz,"] {
            assert_eq!(harmless(cell.into()), cell);
        }
    }
}

//! A backup file: what pg_dump writes in its custom format, and a line at its end that proves it complete.
//!
//! pg_restore reads the parts it wants by their places in the file and so never gets to that line; the file stays one of
//! its own kind.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{self, SHA256};

/// What the last line begins with; the SHA-256 of everything before the line follows in hex.
const SEAL: &str = "\nbloq-accounts backup 1 sha256 ";
/// Bytes of the last line.
const SEAL_LENGTH: usize = SEAL.len() + 2 * digest::SHA256_OUTPUT_LEN + 1;
/// What every file of pg_dump's custom format begins with.
const MAGIC: &[u8] = b"PGDMP";

/// A complete backup.
#[derive(Debug)]
pub struct Archive(File);

impl Archive {
    /// Completes what pg_dump wrote, and waits until it is on disk.
    pub fn seal(mut file: File) -> Result<Self> {
        let hash = hash(&mut file, None)?;
        file.seek(SeekFrom::End(0))?;
        writeln!(file, "{SEAL}{hash}").and_then(|()| file.sync_all()).context("completing the backup")?;
        Ok(Self(file))
    }

    /// Opens a backup and reads all of it once.
    ///
    /// # Errors
    /// When it is none of ours, or one byte of it is missing or wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let found = file.metadata()?;
        ensure!(found.is_file(), "{} is no file", path.display());
        let mut magic = Vec::new();
        (&file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        ensure!(magic == MAGIC, "{} is no backup: `admin backup` makes one", path.display());
        let cut_off = || format!("{} is truncated, or no backup of `admin backup`", path.display());
        let body = found.len().checked_sub(SEAL_LENGTH as u64).with_context(cut_off)?;
        file.seek(SeekFrom::Start(body))?;
        let mut seal = String::new();
        (&file).take(SEAL_LENGTH as u64).read_to_string(&mut seal).with_context(cut_off)?;
        let sealed = seal.strip_prefix(SEAL).map(str::trim_end).with_context(cut_off)?;
        ensure!(hash(&mut file, Some(body))? == sealed, "{} is damaged: its checksum is wrong", path.display());
        Ok(Self(file))
    }

    /// The file for a program that reads it from the beginning. Both share one position, which tells how far it is.
    pub(super) fn reader(&self) -> Result<File> {
        let mut file = self.0.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// The SHA-256 of the first `length` bytes, or of all.
fn hash(file: &mut File, length: Option<u64>) -> Result<String> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(1 << 20, file.take(length.unwrap_or(u64::MAX)));
    let mut context = digest::Context::new(&SHA256);
    let mut block = vec![0; 1 << 20];
    loop {
        match reader.read(&mut block).context("reading the backup")? {
            0 => return Ok(hex::encode(context.finish())),
            read => context.update(&block[..read]),
        }
    }
}

/// Some small tables of a backup, as pg_restore writes them out.
pub struct Tables(pub(super) String);

impl Tables {
    /// The rows of a table, these columns of them, in COPY's text format without its escapes: numbers, names, and bytes as
    /// `\x…`. None when the table is not there or has no rows.
    ///
    /// # Errors
    /// When the table has no such columns.
    pub fn rows<const N: usize>(&self, table: &str, columns: [&str; N]) -> Result<Vec<[String; N]>> {
        let begin = format!("COPY public.{table} (");
        let mut lines = self.0.lines().skip_while(|line| !line.starts_with(&begin));
        let Some(head) = lines.next() else { return Ok(Vec::new()) };
        let names = head[begin.len()..].split_once(')').map_or("", |(names, _)| names);
        let names: Vec<&str> = names.split(", ").collect();
        let place = |column: &&str| names.iter().position(|name| name == column);
        let places: Option<Vec<usize>> = columns.iter().map(place).collect();
        let places = places.with_context(|| format!("the table {table} of the backup has other columns"))?;
        let mut rows = Vec::new();
        for line in lines.take_while(|line| *line != "\\.") {
            let fields: Vec<&str> = line.split('\t').collect();
            let row: Option<Vec<String>> =
                places.iter().map(|at| Some(fields.get(*at)?.replace("\\\\", "\\"))).collect();
            let row = row.and_then(|row| row.try_into().ok());
            rows.push(row.with_context(|| format!("the table {table} of the backup cannot be read"))?);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_table_and_column() {
        let text = "SET x;\nCOPY public.other (kid) FROM stdin;\nno\n\\.\n\nCOPY public.keys (kid, algorithm, sealed) FROM \
                    stdin;\nK1\tES256\t\\\\x0aff\nK2\tEdDSA\t\\\\x00\n\\.\n\nCOPY public.more (kid) FROM stdin;\nx\n\\.\n";
        let tables = Tables(text.into());
        let rows = tables.rows("keys", ["sealed", "kid"]).expect("both are there");
        assert_eq!(rows, [["\\x0aff", "K1"], ["\\x00", "K2"]]);
        assert!(tables.rows("key", ["kid"]).expect("no such table").is_empty());
        assert!(tables.rows("keys", ["secret"]).is_err());
        assert!(Tables("COPY public.keys (kid, sealed) FROM stdin;\nK1\n".into()).rows("keys", ["sealed"]).is_err());
    }
}

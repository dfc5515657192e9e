//! Whole files into memory, gzip or plain, and whole files out.
//!
//! Every parser takes bytes; this is where they come from. Compression is recognised by its first two bytes, never by the name.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// All bytes of a file, unpacked when they are gzip (of one or several members). A file that ends inside a member is refused.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let raw = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    unpack(raw, path)
}

/// What [`read`] does to bytes already in memory; `path` is for the message alone.
pub fn unpack(raw: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return Ok(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len().saturating_mul(3));
    flate2::read::MultiGzDecoder::new(raw.as_slice())
        .read_to_end(&mut bytes)
        .map_err(|e| Error::format(path, format!("the gzip data is damaged or cut off after {} bytes of text: {e}", bytes.len())))?;
    Ok(bytes)
}

/// [`read`] as text. Bytes that are not UTF-8 (old headers hold Latin-1) become the replacement character; no format gives them meaning.
pub fn read_string(path: impl AsRef<Path>) -> Result<String> {
    Ok(match String::from_utf8(read(path)?) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// `path` itself, or `path` with `.gz` added, whichever is there.
pub fn find(path: impl AsRef<Path>) -> Option<PathBuf> {
    let path = path.as_ref();
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let packed = PathBuf::from(packed);
    packed.is_file().then_some(packed)
}

/// A file's name without `.gz`, in lower case: what tells the format.
pub fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    name.strip_suffix(".gz").map(str::to_owned).unwrap_or(name)
}

/// Lines with their one-based numbers, without line ends (`\n` or `\r\n`).
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let some = !bytes.is_empty();
    body.split(|&b| b == b'\n').enumerate().filter(move |_| some).map(|(i, line)| (i + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// A byte for a message: the character when it is printable, its value otherwise.
pub fn show(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("`{}`", byte as char) } else { format!("byte 0x{byte:02x}") }
}

/// Writes a file so that it appears under its name only when whole: into a temporary file of the same folder, then renamed.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary_in(folder).map_err(|e| Error::io(path, e))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|e| Error::io(path, e))?;
    file.persist(path).map_err(|e| Error::io(path, e.error))?;
    Ok(())
}

/// A temporary file to be renamed within `folder`, with the permissions that a file made directly would have.
pub fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one_and_lose_only_their_ends() {
        let got: Vec<_> = lines(b"a\r\n\nb").collect();
        assert_eq!(got, [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"\n").count(), 1);
    }

    #[test]
    fn a_cut_gzip_is_refused_and_a_whole_one_of_two_members_read() {
        let pack = |text: &[u8]| {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            e.write_all(text).unwrap();
            e.finish().unwrap()
        };
        let (one, two) = (pack(b"first "), pack(b"second"));
        let both = [one.clone(), two].concat();
        assert_eq!(unpack(both, Path::new("x.gz")).unwrap(), b"first second");
        let cut = one[..one.len() - 4].to_vec();
        assert!(unpack(cut, Path::new("x.gz")).unwrap_err().to_string().starts_with("x.gz: the gzip data is damaged or cut off"));
    }
}

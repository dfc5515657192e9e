//! NumPy archives: named arrays in one zip, as AlphaFold and its descendants keep features.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use npyz::{DType, NpyFile, Order, TypeChar, WriteOptions, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Result};
use crate::io::archive::Archive as Packed;
use crate::io::text;
use crate::tensor::{Data, HostTensor};

/// Longest header of an array; numpy's own limit.
const LONGEST_HEADER: usize = 10_000;
/// Entries beyond this many bytes need the archive's 64-bit form; some room is left for their headers.
const LARGE: usize = 0xf000_0000;

/// Writes tensors as `name.npy` each, float32 or int32 in C order, and strings as one-dimensional arrays of bytes. `/` in a name becomes `.`,
/// so that no entry is a path. Entries have no date: the same arrays give the same bytes.
pub fn write(path: impl AsRef<Path>, tensors: &BTreeMap<String, HostTensor>, strings: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let path = path.as_ref();
    let failed = |e: std::io::Error| Error::io(path, e);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        begin(&mut archive, &name.replace('/', "."), 4 * tensor.len(), CompressionMethod::Deflated).map_err(failed)?;
        array_of(&mut archive, tensor).map_err(failed)?;
    }
    for (name, lines) in strings {
        let width = lines.iter().map(String::len).max().unwrap_or(0).max(1);
        begin(&mut archive, &name.replace('/', "."), width * lines.len(), CompressionMethod::Deflated).map_err(failed)?;
        let kind = DType::Plain(format!("|S{width}").parse().map_err(|e| Error::format(path, format!("array `{name}`: {e}")))?);
        let options = WriteOptions::<[u8]>::new().dtype(kind).shape(&[lines.len() as u64]);
        let mut w = options.writer(&mut archive).begin_nd().map_err(failed)?;
        for line in lines {
            w.push(line.as_bytes()).map_err(failed)?;
        }
        w.finish().map_err(failed)?;
    }
    let buffer = archive.finish().map_err(|e| failed(e.into()))?;
    text::write_whole(path, &buffer.into_inner())
}

/// Writes tensors as `numpy.savez` does, as AlphaFold's parameters are kept: names as they are, slashes and all, and nothing compressed.
pub fn write_plain(path: impl AsRef<Path>, tensors: &BTreeMap<String, HostTensor>) -> Result<()> {
    let path = path.as_ref();
    let failed = |e: std::io::Error| Error::io(path, e);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        begin(&mut archive, name, 4 * tensor.len(), CompressionMethod::Stored).map_err(failed)?;
        array_of(&mut archive, tensor).map_err(failed)?;
    }
    let buffer = archive.finish().map_err(|e| failed(e.into()))?;
    text::write_whole(path, &buffer.into_inner())
}

type Archive = ZipWriter<Cursor<Vec<u8>>>;

fn begin(archive: &mut Archive, name: &str, bytes: usize, method: CompressionMethod) -> std::io::Result<()> {
    let options = SimpleFileOptions::DEFAULT.large_file(bytes > LARGE).compression_method(method);
    Ok(archive.start_file(format!("{name}.npy"), options)?)
}

fn array_of(archive: &mut Archive, tensor: &HostTensor) -> std::io::Result<()> {
    let shape: Vec<u64> = tensor.shape.iter().map(|&d| d as u64).collect();
    match &tensor.data {
        Data::F32(v) => {
            let mut w = WriteOptions::new().default_dtype().shape(&shape).writer(archive).begin_nd()?;
            w.extend(v.iter().copied()).and_then(|()| w.finish())
        }
        Data::I32(v) => {
            let mut w = WriteOptions::new().default_dtype().shape(&shape).writer(archive).begin_nd()?;
            w.extend(v.iter().copied()).and_then(|()| w.finish())
        }
    }
}

/// Reads all numeric arrays: integers and booleans as i32, floats as f32, whatever their width. Arrays of text are left out, and so are arrays
/// of Python objects, which are programs. Nothing is taken on trust: an array holds as many elements as its shape says, or is refused.
pub fn read(path: impl AsRef<Path>) -> Result<BTreeMap<String, HostTensor>> {
    let path = path.as_ref();
    parse(&std::fs::read(path).map_err(|e| Error::io(path, e))?, path)
}

/// [`read`] on bytes already in memory; `path` is for messages.
pub fn parse(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, HostTensor>> {
    let mut archive = Packed::new(bytes).map_err(|what| Error::format(path, format!("no npz archive: {what}")))?;
    let mut tensors = BTreeMap::new();
    for i in 0..archive.entries.len() {
        let Some(name) = npyz::npz::array_name_from_file_name(&archive.entries[i].name).map(str::to_owned) else { continue };
        let wrong = |what: String| Error::format(path, format!("array `{name}`: {what}"));
        let content = archive.unpack(i).map_err(wrong)?;
        if let Some(tensor) = array(&content).map_err(wrong)? {
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

/// One `.npy` file; `None` when it holds no numbers.
fn array(content: &[u8]) -> Result<Option<HostTensor>, String> {
    let mut rest = content;
    // A header's length is taken on trust by who reads it.
    let length = match content {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => usize::from(u16::from_le_bytes([*a, *b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => return Err("no numpy array".into()),
    };
    if length > LONGEST_HEADER {
        return Err(format!("a header of {length} bytes; {LONGEST_HEADER} are the most"));
    }
    let header = npyz::NpyHeader::from_reader(&mut rest).map_err(|e| e.to_string())?;
    let DType::Plain(kind) = header.dtype() else { return Ok(None) };
    if matches!(kind.type_char(), TypeChar::Object | TypeChar::ByteStr | TypeChar::UnicodeStr) {
        return Ok(None);
    }
    if header.order() == Order::Fortran && header.shape().len() > 1 {
        return Err("it is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let shape: Vec<usize> = header.shape().iter().map(|&d| d as usize).collect();
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let width = kind.num_bytes().unwrap_or(0);
    if count.and_then(|n| n.checked_mul(width)) != Some(rest.len()) {
        return Err(format!("its shape {shape:?} does not fit its {} bytes", rest.len()));
    }
    let file = || NpyFile::with_header(header.clone(), rest);
    fn whole<T: npyz::Deserialize + TryInto<i32>>(file: NpyFile<&[u8]>, shape: &[usize]) -> Result<HostTensor, String> {
        let values = file.into_vec::<T>().map_err(|e| e.to_string())?;
        let small: Result<Vec<i32>, _> = values.into_iter().map(T::try_into).collect();
        Ok(HostTensor::i32(shape, small.map_err(|_| "a value beyond 32 bits".to_owned())?))
    }
    let float = |values: Vec<f32>| HostTensor::f32(&shape, values);
    Ok(Some(match (kind.type_char(), width) {
        (TypeChar::Float, 4) => float(file().into_vec().map_err(|e| e.to_string())?),
        (TypeChar::Float, 8) => float(file().into_vec::<f64>().map_err(|e| e.to_string())?.into_iter().map(|x| x as f32).collect()),
        (TypeChar::Bool, 1) => whole::<bool>(file(), &shape)?,
        (TypeChar::Int, 1) => whole::<i8>(file(), &shape)?,
        (TypeChar::Int, 2) => whole::<i16>(file(), &shape)?,
        (TypeChar::Int, 4) => whole::<i32>(file(), &shape)?,
        (TypeChar::Int, 8) => whole::<i64>(file(), &shape)?,
        (TypeChar::Uint, 1) => whole::<u8>(file(), &shape)?,
        (TypeChar::Uint, 2) => whole::<u16>(file(), &shape)?,
        (TypeChar::Uint, 4) => whole::<u32>(file(), &shape)?,
        _ => return Err(format!("elements of type {kind} are not read here")),
    }))
}

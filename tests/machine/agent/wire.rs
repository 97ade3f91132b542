//! What goes over the port, in both directions: frames of a length (32 bits, little endian) and so many bytes; in a
//! frame, fields, each with a length likewise.
//!
//! A request is an id, a verb and its arguments; an answer is the same id, `ok` or `error`, and its values.

use std::io::{self, Read, Write};

/// The longest frame, in bytes.
pub const LONGEST: usize = 256 << 20;

/// Reads one frame. `UnexpectedEof` at the end.
pub fn read(port: &mut (impl Read + ?Sized)) -> io::Result<Vec<Vec<u8>>> {
    let mut length = [0; 4];
    port.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    port.read_exact(&mut frame)?;
    let mut fields = Vec::new();
    let mut rest = frame.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*head) as usize;
        let Some((field, tail)) = tail.split_at_checked(length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a field is longer than its frame"));
        };
        fields.push(field.to_vec());
        rest = tail;
    }
    Ok(fields)
}

/// Writes one frame.
pub fn write(port: &mut (impl Write + ?Sized), fields: &[&[u8]]) -> io::Result<()> {
    let length: usize = fields.iter().map(|field| field.len() + 4).sum();
    let mut frame = Vec::with_capacity(length + 4);
    frame.extend_from_slice(&(length as u32).to_le_bytes());
    for field in fields {
        frame.extend_from_slice(&(field.len() as u32).to_le_bytes());
        frame.extend_from_slice(field);
    }
    port.write_all(&frame)?;
    port.flush()
}

//! The connection to the shell: checked to be this user's, one request at a time, every wait bounded.

use crate::Failure;
use phyllome_protocol::framing::{self, Decoder, FramingError};
use phyllome_protocol::runtime::{RuntimeDir, RuntimeError};
use phyllome_protocol::shell::{CaptureTarget, Command, Event, Reply};
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the shell may take to answer; it answers sooner, with a reason, when a guest does not.
const ANSWER: Duration = Duration::from_secs(150);
/// Widest and highest picture that is believed.
const MAX_SIDE: u32 = 32_768;

/// A connection.
pub struct Connection {
    stream: UnixStream,
    decoder: Decoder,
}

impl Connection {
    /// Connects to the shell.
    pub fn open(socket: Option<&Path>) -> Result<Self, Failure> {
        let path = match socket {
            Some(path) => path.to_owned(),
            None => match RuntimeDir::open() {
                Ok(runtime) => runtime.shell_socket(),
                Err(error @ RuntimeError::Unset) => return Err(Failure::NoShell(error.to_string())),
                Err(error) => return Err(Failure::refused(error)),
            },
        };
        let none = |error| {
            Failure::NoShell(format!("no shell is running at {} ({error}); start phyllome-shell", path.display()))
        };
        let stream = UnixStream::connect(&path).map_err(none)?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(Failure::refused)?;
        if peer.uid != rustix::process::geteuid() {
            let owner = peer.uid.as_raw();
            return Err(Failure::Refused(format!(
                "{} belongs to user {owner}, not to you; name your own with --socket",
                path.display()
            )));
        }
        stream.set_read_timeout(Some(ANSWER)).map_err(Failure::refused)?;
        stream.set_write_timeout(Some(ANSWER)).map_err(Failure::refused)?;
        Ok(Self { stream, decoder: Decoder::new() })
    }

    /// Asks; refusals are errors.
    pub fn ask(&mut self, command: &Command) -> Result<Reply, Failure> {
        framing::send_blocking(&self.stream, command, &[]).map_err(lost)?;
        match framing::receive_blocking(&self.stream, &mut self.decoder).map_err(lost)? {
            Reply::Refused { reason } => Err(Failure::Refused(reason)),
            reply @ (Reply::Done | Reply::Status(_) | Reply::Screenshot { .. }) => Ok(reply),
        }
    }

    /// The next event, however long it takes.
    pub fn next_event(&mut self) -> Result<Event, Failure> {
        self.stream.set_read_timeout(None).map_err(Failure::refused)?;
        framing::receive_blocking(&self.stream, &mut self.decoder).map_err(|error| match error {
            FramingError::Closed => Failure::NoShell("the shell has ended; start phyllome-shell".to_owned()),
            FramingError::Io(_) | FramingError::LineTooLong | FramingError::TooManyFds | FramingError::Json(_) => {
                lost(error)
            }
        })
    }

    /// Saves a picture as PNG.
    pub fn screenshot(&mut self, target: &CaptureTarget, file: &Path) -> Result<(), Failure> {
        let reply = self.ask(&Command::Screenshot { target: target.clone() })?;
        let Reply::Screenshot { width, height, stride } = reply else {
            return Err(Failure::refused(
                "the shell did not answer with a picture; install both from the same release",
            ));
        };
        let memory = self
            .decoder
            .take_fd()
            .ok_or_else(|| Failure::refused("the shell sent no picture; install both from the same release"))?;
        let rgb = read_pixels(memory, width, height, stride)?;
        write_png(file, width, height, &rgb).map_err(|error| {
            Failure::Refused(format!("{} cannot be written ({error}); choose another file", file.display()))
        })
    }
}

fn lost(error: FramingError) -> Failure {
    match error {
        FramingError::Closed => Failure::refused("the shell closed the connection; ask again if it is not ending"),
        FramingError::Io(rustix::io::Errno::TIMEDOUT) => Failure::refused(
            "the shell does not answer; end phyllome-shell, and phyllome-session brings it back to its guests",
        ),
        FramingError::Io(_) | FramingError::LineTooLong | FramingError::TooManyFds | FramingError::Json(_) => {
            Failure::refused(error)
        }
    }
}

/// Blue, green, red, unused → red, green, blue without gaps.
fn read_pixels(memory: OwnedFd, width: u32, height: u32, stride: u32) -> Result<Vec<u8>, Failure> {
    let bad = || Failure::refused("the shell sent a picture of an impossible size; install both from the same release");
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE || u64::from(stride) < u64::from(width) * 4 {
        return Err(bad());
    }
    let memory = File::from(memory);
    let size = memory.metadata().map_err(Failure::refused)?.len();
    if size < u64::from(stride) * u64::from(height) {
        return Err(bad());
    }
    let mut row = vec![0; width as usize * 4];
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        memory.read_exact_at(&mut row, u64::from(y) * u64::from(stride)).map_err(Failure::refused)?;
        rgb.extend(row.as_chunks::<4>().0.iter().flat_map(|[blue, green, red, _]| [*red, *green, *blue]));
    }
    Ok(rgb)
}

fn write_png(path: &Path, width: u32, height: u32, rgb: &[u8]) -> Result<(), png::EncodingError> {
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn pixels_are_read_row_by_row_without_their_gaps() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1, 2, 3, 9, 0, 0, 0, 0, 4, 5, 6, 9, 0, 0, 0, 0]).unwrap();
        assert_eq!(read_pixels(file.into(), 1, 2, 8).unwrap(), [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn impossible_pictures_are_refused() {
        for (width, height, stride) in [(0, 1, 4), (2, 1, 4), (1, 9, 4), (MAX_SIDE + 1, 1, u32::MAX), (1, u32::MAX, 4)]
        {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[0; 16]).unwrap();
            assert!(read_pixels(file.into(), width, height, stride).is_err());
        }
    }

    #[test]
    fn a_png_has_the_pixels_that_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        write_png(&path, 2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [1, 2, 3, 4, 5, 6]);
    }
}

//! Answers requests, each on a thread of its own where it may take long.
//!
//! Verbs: `run` and `spawn` (user, folder, terminal, stdout, stderr, count of variables, variables, program and
//! arguments), `wait`,
//! `poll`, `signal`, `read`, `write`.

use crate::{sys, users, wire};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const PORT: &str = "/dev/virtio-ports/agent";

type Writer = Mutex<Box<dyn Write + Send>>;

type Fields = Vec<Vec<u8>>;

/// Started programs; nothing for those that still run.
#[derive(Default)]
struct Children {
    ended: Mutex<BTreeMap<u32, Option<i32>>>,
    change: Condvar,
}

/// Serves until the connection is closed.
pub fn run() -> io::Result<()> {
    let cmdline = fs::read_to_string("/proc/cmdline")?;
    let word = |key: &str| cmdline.split_whitespace().find_map(|word| word.strip_prefix(key));
    let (mut requests, answers, is_port): (Box<dyn Read>, Box<dyn Write + Send>, _) = match word("machine.agent=") {
        Some(address) => {
            let stream = reach(address)?;
            (Box::new(stream.try_clone()?), Box::new(stream), false)
        }
        None => {
            let port = File::options().read(true).write(true).open(find_port()?)?;
            (Box::new(port.try_clone()?), Box::new(port), true)
        }
    };
    let answers = Arc::new(Mutex::new(answers));
    let children = Arc::new(Children::default());
    let secret = word("machine.word=").unwrap_or_default();
    answer(&answers, b"0", &Ok(vec![b"ready".to_vec(), secret.as_bytes().to_vec()]));
    loop {
        let request = match wire::read(&mut requests) {
            Ok(request) => request,
            // Nobody is at the other end: a port says so by an end of file.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && is_port => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            Err(error) => return Err(error),
        };
        let (answers, children) = (answers.clone(), children.clone());
        std::thread::spawn(move || {
            let Some((id, request)) = request.split_first() else { return };
            answer(&answers, id, &perform(request, &children));
        });
    }
}

/// Connects to the test outside, over the guest's network.
fn reach(address: &str) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The port by its name, as udev would link it.
fn find_port() -> io::Result<String> {
    for entry in fs::read_dir("/sys/class/virtio-ports")?.flatten() {
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == "agent") {
            return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    Ok(PORT.to_owned())
}

fn answer(port: &Writer, id: &[u8], result: &io::Result<Fields>) {
    let words;
    let (verdict, fields): (&[u8], Vec<&[u8]>) = match result {
        Ok(fields) => (b"ok", fields.iter().map(Vec::as_slice).collect()),
        Err(error) => {
            words = error.to_string();
            (b"error", vec![words.as_bytes()])
        }
    };
    let Ok(mut port) = port.lock() else { return };
    if let Err(error) = wire::write(&mut **port, &[&[id, verdict][..], &fields].concat()) {
        eprintln!("machine-agent: cannot answer: {error}");
    }
}

fn perform(request: &[Vec<u8>], children: &Arc<Children>) -> io::Result<Fields> {
    let text = |at: usize| -> io::Result<String> {
        let field = request.get(at).ok_or_else(|| io::Error::other("an argument is missing"))?;
        String::from_utf8(field.clone()).map_err(io::Error::other)
    };
    let number = |at: usize| text(at)?.parse::<i32>().map_err(io::Error::other);
    match text(0)?.as_str() {
        "run" => {
            let done = command(&request[1..])?.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
            Ok(vec![code(done.status).to_string().into_bytes(), done.stdout, done.stderr])
        }
        "spawn" => {
            let mut child = command(&request[1..])?.spawn()?;
            let pid = child.id();
            lock(children).insert(pid, None);
            let children = children.clone();
            std::thread::spawn(move || {
                let status = child.wait().map_or(-1, code);
                lock(&children).insert(pid, Some(status));
                children.change.notify_all();
            });
            Ok(vec![pid.to_string().into_bytes()])
        }
        "wait" => {
            let pid = number(1)? as u32;
            let mut ended = lock(children);
            loop {
                match ended.get(&pid) {
                    None => return Err(io::Error::other(format!("process {pid} was not started here"))),
                    Some(Some(status)) => return Ok(vec![status.to_string().into_bytes()]),
                    Some(None) => {
                        ended = children.change.wait(ended).map_err(|_| io::Error::other("a thread failed"))?
                    }
                }
            }
        }
        "poll" => match lock(children).get(&(number(1)? as u32)) {
            None => Err(io::Error::other("that process was not started here")),
            Some(status) => Ok(vec![status.map(|status| status.to_string()).unwrap_or_default().into_bytes()]),
        },
        "signal" => sys::send_signal(number(1)?, number(2)?).map(|()| Vec::new()),
        "read" => Ok(vec![fs::read(text(1)?)?]),
        "write" => {
            let mode = u32::from_str_radix(&text(2)?, 8).map_err(io::Error::other)?;
            let content = request.get(3).map(Vec::as_slice).unwrap_or_default();
            fs::write(text(1)?, content)?;
            fs::set_permissions(text(1)?, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            Ok(Vec::new())
        }
        other => Err(io::Error::other(format!("no such verb: {other}"))),
    }
}

fn lock(children: &Children) -> std::sync::MutexGuard<'_, BTreeMap<u32, Option<i32>>> {
    children.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The exit code, or 128 and the signal that ended it, as a shell says it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Reads what `spawn` and `run` have in common. The environment is what a login gives, and what the request adds.
fn command(request: &[Vec<u8>]) -> io::Result<Command> {
    let mut fields = request.iter().map(|field| String::from_utf8_lossy(field).into_owned());
    let mut next = || fields.next().ok_or_else(|| io::Error::other("an argument is missing"));
    let user = users::find(&next()?)?;
    let (folder, terminal, stdout, stderr) = (next()?, next()?, next()?, next()?);
    let count: usize = next()?.parse().map_err(io::Error::other)?;
    let variables = (0..count).map(|_| next()).collect::<io::Result<Vec<_>>>()?;
    let mut command = Command::new(next()?);
    command.args(fields);

    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin")
        .env("LANG", "C.UTF-8");
    command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name).env("SHELL", "/bin/sh");
    command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", user.uid));
    for variable in variables {
        match variable.split_once('=') {
            Some((name, "")) => command.env_remove(name),
            Some((name, value)) => command.env(name, value),
            None => return Err(io::Error::other(format!("not a variable: {variable}"))),
        };
    }
    command.current_dir(if folder.is_empty() { &user.home } else { &folder });
    command.stdin(if terminal.is_empty() {
        Stdio::null()
    } else {
        // As a login does.
        std::os::unix::fs::chown(&terminal, Some(user.uid), None)?;
        File::options().read(true).write(true).open(&terminal)?.into()
    });
    for (name, is_error) in [(stdout, false), (stderr, true)] {
        let target: Stdio = if name.is_empty() {
            Stdio::null()
        } else {
            OpenOptions::new().create(true).append(true).mode(0o666).open(name)?.into()
        };
        if is_error {
            command.stderr(target)
        } else {
            command.stdout(target)
        };
    }
    let has_terminal = !terminal.is_empty();
    // SAFETY: between fork and exec only system calls are made, on values that were prepared before.
    unsafe {
        command.pre_exec(move || {
            sys::new_session(has_terminal)?;
            sys::become_user(user.uid, user.gid, &user.groups)
        })
    };
    Ok(command)
}

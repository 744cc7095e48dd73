//! Child processes that must never outlive us.
//!
//! There are three ways to end: [`Service::stop`] (signal, wait, then SIGKILL),
//! dropping the handle (the same with a short bound), and this process being
//! killed. For the last, `PR_SET_PDEATHSIG` would need unsafe code and fires when
//! the *thread* that spawned the child ends. Instead a [`Watchdog`], a `sh` that
//! waits at the end of a pipe whose other end only we hold, signals the child as
//! soon as the kernel closes our end. What still slips through (the watchdog was
//! killed as well) is stopped at the next start by [`stop_leftover`].

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};

use crate::EmbeddedError;

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);

/// How long dropping a handle may block for a service's clean stop.
const DROP_BOUND: Duration = Duration::from_secs(2);

/// A child process that serves until it is told to stop.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    child: Child,
    stop_signal: Signal,
    log: PathBuf,
    log_start: u64,
    // Held for its drop: tokio kills it, and with it the pipe's reader.
    _watchdog: Option<Watchdog>,
}

impl Service {
    /// Spawns `command` in a process group of its own (Ctrl-C in a terminal must
    /// reach us only, so that services stop after what uses them) with its output
    /// appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be executed.
    pub fn spawn(
        name: &'static str,
        mut command: Command,
        stop_signal: Signal,
        log: &Path,
    ) -> Result<Self, EmbeddedError> {
        let output = append(log)?;
        let log_start = output
            .metadata()
            .map_err(|e| EmbeddedError::io("read", log, e))?
            .len();
        let errors = output
            .try_clone()
            .map_err(|e| EmbeddedError::io("open", log, e))?;
        let program = PathBuf::from(command.as_std().get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|e| EmbeddedError::io("execute", &program, e))?;
        Ok(Self {
            name,
            child,
            stop_signal,
            log: log.to_owned(),
            log_start,
            _watchdog: None,
        })
    }

    /// Adds a [`Watchdog`] for a program that does not watch its parent itself.
    /// `process_name` is (part of) the name that the system shows for it.
    ///
    /// # Errors
    /// When `sh` cannot be executed.
    pub fn watched(mut self, process_name: &str) -> Result<Self, EmbeddedError> {
        if let Some(pid) = self.child.id() {
            self._watchdog = Some(Watchdog::spawn(pid, process_name, self.stop_signal)?);
        }
        Ok(self)
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The exit status if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has written to its log since it was spawned (the last 16 KiB).
    #[must_use]
    pub fn output(&self) -> String {
        tail(&self.log, self.log_start).unwrap_or_default()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Signals it, waits up to `bound`, then kills it.
    pub async fn stop(&mut self, bound: Duration) {
        self.signal();
        if tokio::time::timeout(bound, self.child.wait())
            .await
            .is_err()
        {
            tracing::warn!(service = self.name, "did not stop in time, killing it");
            // Fails only if it has ended meanwhile.
            let _ = self.child.kill().await;
        }
    }

    fn signal(&self) {
        if let Some(pid) = self.child.id().and_then(to_pid) {
            // Fails only if it has ended meanwhile.
            let _ = kill_process(pid, self.stop_signal);
        }
    }
}

impl Drop for Service {
    #[expect(
        clippy::disallowed_methods,
        reason = "a drop cannot await, and this is a wait for a condition with a bound"
    )]
    fn drop(&mut self) {
        if self.exited().is_some() {
            return;
        }
        self.signal();
        let deadline = Instant::now() + DROP_BOUND;
        while self.exited().is_none() {
            if Instant::now() > deadline {
                // Best effort: a drop cannot report.
                let _ = self.child.start_kill();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Signals a process when ours is gone, however it went.
#[derive(Debug)]
struct Watchdog {
    _shell: Child,
}

impl Watchdog {
    /// Looks at the process's name before signalling, because its id may have
    /// been given to another process since.
    const SCRIPT: &'static str = r#"read -r _
name=$(cat "/proc/$1/comm" 2>/dev/null || ps -o comm= -p "$1")
case $name in *"$2"*) kill -s "$3" "$1" ;; esac"#;

    fn spawn(pid: u32, process_name: &str, signal: Signal) -> Result<Self, EmbeddedError> {
        let signal = if signal == Signal::INT { "INT" } else { "TERM" };
        let shell = Command::new("sh")
            .args([
                "-c",
                Self::SCRIPT,
                "watchdog",
                &pid.to_string(),
                process_name,
                signal,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| EmbeddedError::io("execute", Path::new("sh"), e))?;
        Ok(Self { _shell: shell })
    }
}

/// Stops a process that a killed parent left behind, if `pid` is alive and its
/// name contains `process_name`: signal, up to ten seconds, then SIGKILL.
/// Returns whether there was one.
pub async fn stop_leftover(pid: u32, process_name: &str, signal: Signal) -> bool {
    if !is_running(pid, process_name) {
        return false;
    }
    tracing::info!(
        pid,
        process_name,
        "stopping a process that a killed parent left behind"
    );
    for signal in [signal, Signal::KILL] {
        if let Some(pid) = to_pid(pid) {
            // Fails only if it has ended meanwhile, or is not ours; then it
            // stays alive and its data folder reports being in use.
            let _ = kill_process(pid, signal);
        }
        let gone = wait_until(Duration::from_secs(10), || !is_running(pid, process_name)).await;
        if gone {
            break;
        }
    }
    true
}

/// Whether `pid` runs and has a name that contains `process_name`. A zombie does
/// not run.
fn is_running(pid: u32, process_name: &str) -> bool {
    if cfg!(target_os = "linux") {
        return fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat_is_running(&stat, process_name));
    }
    std::process::Command::new("ps")
        .args(["-o", "stat=,comm=", "-p", &pid.to_string()])
        .output()
        .is_ok_and(|output| {
            let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            !line.starts_with('Z') && line.contains(process_name)
        })
}

/// Reads `pid (comm) state …`; comm may itself hold parentheses.
fn stat_is_running(stat: &str, process_name: &str) -> bool {
    let Some((head, tail)) = stat.rsplit_once(')') else {
        return false;
    };
    let name = head.split_once('(').map_or("", |(_, name)| name);
    name.contains(process_name) && !tail.trim_start().starts_with(['Z', 'X'])
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The lock of a data folder or file: held while its service runs, freed by the
/// kernel when this process ends, however it ends. Its file also keeps the
/// service's process id, so that the next owner can stop a left-over one.
#[derive(Debug)]
pub(crate) struct OwnerLock(File);

impl OwnerLock {
    /// Takes the lock and returns the process id noted by the previous owner.
    pub(crate) fn take(
        lock_file: &Path,
        data: &Path,
    ) -> Result<(Self, Option<u32>), EmbeddedError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock_file)
            .map_err(|e| EmbeddedError::io("open", lock_file, e))?;
        file.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => EmbeddedError::DataInUse {
                path: data.to_owned(),
            },
            fs::TryLockError::Error(e) => EmbeddedError::io("lock", lock_file, e),
        })?;
        let mut noted = String::new();
        file.read_to_string(&mut noted)
            .map_err(|e| EmbeddedError::io("read", lock_file, e))?;
        Ok((Self(file), noted.trim().parse().ok()))
    }

    pub(crate) fn note(&mut self, pid: Option<u32>) -> io::Result<()> {
        use io::Write as _;
        self.0.set_len(0)?;
        self.0.seek(SeekFrom::Start(0))?;
        if let Some(pid) = pid {
            write!(self.0, "{pid}")?;
        }
        Ok(())
    }
}

/// A loopback port that is free now and that the system will not hand out again
/// for a while, although another process may still bind it explicitly: retry.
///
/// # Errors
/// When the system has no free port.
pub fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    // A connection closed from the listening side first stays in TIME_WAIT, which
    // keeps the port out of the system's choice but free for explicit binding.
    let client = TcpStream::connect(address)?;
    let (accepted, _) = listener.accept()?;
    drop(accepted);
    drop(client);
    Ok(address.port())
}

/// Whether a loopback port can be bound.
#[must_use]
pub fn port_is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

/// Waits for a condition, at most `bound`. Returns whether it came true.
pub async fn wait_until(bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + bound;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// Runs a closure when dropped, unless disarmed: tidies up what a failed or
/// cancelled operation would leave half done.
pub struct CleanupGuard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> CleanupGuard<F> {
    /// Arms the guard.
    pub fn new(cleanup: F) -> Self {
        Self(Some(cleanup))
    }

    /// The operation succeeded: nothing to tidy up.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for CleanupGuard<F> {
    fn drop(&mut self) {
        if let Some(cleanup) = self.0.take() {
            cleanup();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for CleanupGuard<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CleanupGuard")
            .field(&self.0.is_some())
            .finish()
    }
}

/// Opens a log for appending, with its folder.
pub(crate) fn append(log: &Path) -> Result<File, EmbeddedError> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).map_err(|e| EmbeddedError::io("create", parent, e))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|e| EmbeddedError::io("open", log, e))
}

/// The last 16 KiB of a file, but nothing before `start`.
fn tail(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(16 * 1024))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc_stat() {
        assert!(stat_is_running("12 (postgres) S 1 12", "postgres"));
        assert!(stat_is_running("12 (a) b) R 1 12", "a) b"));
        assert!(!stat_is_running("12 (postgres) Z 1 12", "postgres"));
        assert!(!stat_is_running("12 (bash) S 1 12", "postgres"));
        assert!(!stat_is_running("", "postgres"));
    }

    #[test]
    fn free_ports_can_be_bound() {
        let port = free_port().unwrap();
        assert!(port_is_free(port));
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!port_is_free(port));
    }

    #[test]
    fn cleanup_runs_once_unless_disarmed() {
        let count = std::cell::Cell::new(0);
        drop(CleanupGuard::new(|| count.set(count.get() + 1)));
        assert_eq!(count.get(), 1);
        CleanupGuard::new(|| count.set(count.get() + 1)).disarm();
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn an_owner_excludes_others_and_leaves_the_pid() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lock");
        let (mut lock, noted) = OwnerLock::take(&file, folder.path()).unwrap();
        assert_eq!(noted, None);
        lock.note(Some(4711)).unwrap();
        lock.note(Some(42)).unwrap();
        let refused = OwnerLock::take(&file, folder.path()).unwrap_err();
        assert_eq!(refused.code(), "DATA_IN_USE");
        drop(lock);
        assert_eq!(OwnerLock::take(&file, folder.path()).unwrap().1, Some(42));
    }

    #[tokio::test]
    async fn a_dropped_service_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let service =
            Service::spawn("sleep", command, Signal::TERM, &folder.path().join("log")).unwrap();
        let pid = service.pid().unwrap();
        assert!(is_running(pid, "sleep"));
        drop(service);
        assert!(!is_running(pid, "sleep"));
    }

    #[tokio::test]
    async fn a_left_over_process_is_stopped_only_under_its_name() {
        let mut child = Command::new("sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        assert!(!stop_leftover(pid, "postgres", Signal::TERM).await);
        assert!(is_running(pid, "sleep"));
        assert!(stop_leftover(pid, "sleep", Signal::TERM).await);
        assert!(!is_running(pid, "sleep"));
        child.wait().await.unwrap();
    }

    #[tokio::test]
    async fn the_watchdog_signals_when_its_pipe_closes() {
        let mut child = Command::new("sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut watchdog = Watchdog::spawn(child.id().unwrap(), "sleep", Signal::TERM).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(watchdog._shell.stdin.take());
        let status = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
        assert!(!status.expect("it was signalled").unwrap().success());
    }

    #[test]
    fn the_tail_starts_where_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        fs::write(&file, "old\nnew\n").unwrap();
        assert_eq!(tail(&file, 4).unwrap(), "new\n");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! UNIX sockets: message pairs, listeners, connections, and descriptors that travel over them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{check, check_size, owned, wait_writable};

/// A connected pair of SOCK_SEQPACKET sockets, both closed on exec.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: socketpair writes two descriptors into the array of two.
    check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        )
    })?;
    Ok((owned(ends[0])?, owned(ends[1])?))
}

/// Sends one message, without waiting and without SIGPIPE.
pub(crate) fn send_message(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // SAFETY: send reads `len` bytes from the slice of that length.
    check_size(unsafe {
        libc::send(
            fd.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    })
    .map(drop)
}

/// As [`send_message`], for one that may be larger than what the kernel keeps for a socket by itself.
/// Only root may have more kept than the system's limit says (net.core.wmem_max).
pub(crate) fn send_large_message(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    match send_message(fd, message) {
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
            set_size(fd, libc::SO_SNDBUFFORCE, message.len())
                .or_else(|_| set_size(fd, libc::SO_SNDBUF, message.len()))?;
            send_message(fd, message)
        }
        result => result,
    }
}

/// As [`send_message`], with descriptors that the receiver gets copies of.
pub(crate) fn send_with_descriptors(
    fd: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let size = libc::c_uint::try_from(size_of_val(numbers.as_slice())).unwrap_or(0);
    let mut part =
        libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    // u64 for the alignment of cmsghdr; eight bytes for each and 16 for the header are enough.
    let mut control = vec![0_u64; numbers.len() + 2];
    // SAFETY: an all-zero msghdr is valid. The CMSG macros compute places within `control`, which
    // has room for one header and all numbers. sendmsg reads the message and the control data, both
    // of which live across the call.
    check_size(unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let rights = libc::CMSG_FIRSTHDR(&raw const header);
        (*rights).cmsg_level = libc::SOL_SOCKET;
        (*rights).cmsg_type = libc::SCM_RIGHTS;
        (*rights).cmsg_len = libc::CMSG_LEN(size) as usize;
        let data = libc::CMSG_DATA(rights).cast::<RawFd>();
        std::ptr::copy_nonoverlapping(numbers.as_ptr(), data, numbers.len());
        libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    })
    .map(drop)
}

/// Receives what is there, without waiting: None when nothing is, Some(0) at the end.
pub(crate) fn receive_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: recv writes at most `len` bytes into the buffer of that length.
        let result = check_size(unsafe {
            libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        });
        return match result {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// As [`receive_now`], and takes descriptors that come along, closed on exec.
pub(crate) fn receive_with_descriptors(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<usize>> {
    // Room for two descriptors; more are closed by the kernel. u64 for the alignment of cmsghdr.
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE computes from an integer.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(8) } as usize;
    let count = loop {
        // SAFETY: recvmsg writes within the lengths that the header states, which are those of
        // `buffer` and (at most) of `control`.
        let result = check_size(unsafe {
            libc::recvmsg(
                fd.as_raw_fd(),
                &raw mut message,
                libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
            )
        });
        match result {
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    // SAFETY: the CMSG macros walk the control buffer that recvmsg just filled, within the length
    // that it wrote back.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let (level, kind) = ((*header).cmsg_level, (*header).cmsg_type);
            if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let data: *const RawFd = libc::CMSG_DATA(header).cast();
                for index in 0..bytes / size_of::<RawFd>() {
                    // The kernel made these descriptors for us: nobody else owns them.
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Some(count))
}

/// Writes all of both parts, waiting up to `timeout` whenever the other side does not read.
pub(crate) fn send_all(
    fd: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    timeout: Option<Duration>,
) -> io::Result<()> {
    let total = head.len() + body.len();
    let mut sent = 0;
    while sent < total {
        let head = head.get(sent..).unwrap_or_default();
        let body = body.get(sent.saturating_sub(total - body.len())..).unwrap_or_default();
        let mut parts = [head, body].map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: an all-zero msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        // SAFETY: sendmsg reads the two slices, which live across the call, and writes nothing.
        let result = check_size(unsafe {
            libc::sendmsg(
                fd.as_raw_fd(),
                &raw const message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        });
        match result {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !wait_writable(fd, timeout)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where a listener is: a path, or a name in the kernel's abstract space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file.
    Path(std::path::PathBuf),
    /// A name without a file.
    Abstract(Vec<u8>),
}

impl Address {
    /// The address for the kernel, or an error that says that it is too long.
    fn encode(&self) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
        // SAFETY: an all-zero sockaddr_un is valid.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let (offset, bytes, end) = match self {
            Self::Path(path) => (0, path.as_os_str().as_bytes(), 1),
            Self::Abstract(name) => (1, name.as_slice(), 0),
        };
        if offset + bytes.len() + end > address.sun_path.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("socket name is longer than {} bytes", address.sun_path.len() - 1),
            ));
        }
        for (place, byte) in address.sun_path.iter_mut().skip(offset).zip(bytes) {
            *place = *byte as libc::c_char;
        }
        let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + offset + bytes.len() + end;
        Ok((address, length as libc::socklen_t))
    }

    /// The path, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) => None,
        }
    }
}

/// A listening stream socket, non-blocking, closed on exec. The file, if it is one, can be
/// used by its owner only.
pub(crate) fn listen(address: &Address, backlog: i32) -> io::Result<OwnedFd> {
    let fd = stream()?;
    let (name, length) = address.encode()?;
    let mask = super::identity::set_umask(0o077);
    // SAFETY: bind reads `length` bytes of the address, which is not longer than the structure.
    let bound = check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), length) });
    super::identity::set_umask(mask);
    bound?;
    // SAFETY: listen takes integers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(fd)
}

fn stream() -> io::Result<OwnedFd> {
    // SAFETY: socket takes integers.
    owned(unsafe {
        libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    })
}

/// Connects. A full backlog is waited for until `deadline`, in steps that double from 1 ms to
/// 128 ms, as the kernel has no way to be told of room in it.
///
/// # Errors
/// `ConnectionRefused` or `NotFound` when nobody listens there (any more); `WouldBlock` when the
/// backlog stayed full.
pub(crate) fn connect(address: &Address, deadline: Instant) -> io::Result<OwnedFd> {
    let (name, length) = address.encode()?;
    let fd = stream()?;
    let mut pause = Duration::from_millis(1);
    loop {
        // SAFETY: connect reads `length` bytes of the address.
        let result =
            check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const name).cast(), length) });
        match result {
            Ok(_) => return Ok(fd),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Instant::now();
                if now >= deadline {
                    return Err(error);
                }
                std::thread::sleep(pause.min(deadline - now));
                pause = (pause * 2).min(Duration::from_millis(128));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sets the sizes of the kernel's buffers for a socket, bytes; 0 leaves one as it is. The kernel
/// doubles them for its own needs and has limits of its own (socket(7)).
///
/// # Errors
/// The name of the option that the kernel refuses, and its reason.
pub(crate) fn set_buffers(
    fd: BorrowedFd<'_>,
    send: u32,
    receive: u32,
) -> Result<(), (&'static str, io::Error)> {
    for (name, option, size) in
        [("SO_SNDBUF", libc::SO_SNDBUF, send), ("SO_RCVBUF", libc::SO_RCVBUF, receive)]
    {
        if size == 0 {
            continue;
        }
        set_size(fd, option, size).map_err(|error| (name, error))?;
    }
    Ok(())
}

fn set_size<S: TryInto<libc::c_int>>(
    fd: BorrowedFd<'_>,
    option: libc::c_int,
    size: S,
) -> io::Result<()> {
    let size = size.try_into().unwrap_or(libc::c_int::MAX);
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: setsockopt reads `length` bytes, the size of the integer.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const size).cast(), length)
    })
    .map(drop)
}

/// User id of the process at the other end of a connection, as it was when that was made; for a
/// connection that this process opened, of the process that called listen (unix(7), SO_PEERCRED).
pub(crate) fn peer_uid(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: getsockopt writes at most `length` bytes, the size of the structure.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    })?;
    Ok(credentials.uid)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_large_message_arrives_whole() {
        let (one, other) = message_pair().unwrap();
        let message: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        send_large_message(one.as_fd(), &message).unwrap();
        let mut received = vec![0; 1 << 20];
        let count = receive_now(other.as_fd(), &mut received).unwrap();
        assert_eq!(received.get(..count.unwrap()), Some(message.as_slice()));
    }
}

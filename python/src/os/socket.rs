// SPDX-License-Identifier: Apache-2.0
//! UNIX sockets: accepting with the peer's identity, receiving, sending with a descriptor, waiting
//! for several at once.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::checked;

/// Who is at the other end, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Process id when the connection was made.
    pub(crate) pid: u32,
    /// Effective user id when the connection was made.
    pub(crate) uid: u32,
}

/// What a receive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// The other end is closed.
    End,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Over an inherited descriptor.
    ///
    /// # Errors
    /// When it can not be made non-blocking.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: fcntl with F_GETFL and F_SETFL takes and gives numbers.
        unsafe {
            let flags = libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL);
            checked(flags as isize)?;
            let flags = flags | libc::O_NONBLOCK;
            checked(libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, flags) as isize)?;
        }
        Ok(Self(descriptor))
    }

    /// The next connection that waits, if any.
    ///
    /// # Errors
    /// When there is no descriptor left, for instance.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        // SAFETY: accept4 wants no address, and returns a new descriptor that is ours, or -1.
        unsafe {
            let descriptor = libc::accept4(
                self.0.as_raw_fd(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_CLOEXEC,
            );
            match checked(descriptor as isize) {
                Ok(_) => Ok(Some(Socket(OwnedFd::from_raw_fd(descriptor)))),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::Interrupted
                            | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        }
    }

    /// To wait on.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Over an inherited descriptor.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Its number.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// To wait on.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// When it is no UNIX socket.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
        // SAFETY: getsockopt writes at most `size` bytes to the address.
        let result = unsafe {
            libc::getsockopt(
                self.number(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut credentials).cast(),
                &raw mut size,
            )
        };
        checked(result as isize)?;
        let pid = u32::try_from(credentials.pid).unwrap_or(0);
        Ok(Peer { pid, uid: credentials.uid })
    }

    /// Sets the sizes of the kernel's buffers, bytes; 0 leaves one as it is.
    ///
    /// # Errors
    /// The name of the option that the kernel does not take, and its reason.
    pub(crate) fn set_buffers(
        &self,
        send: u32,
        receive: u32,
    ) -> Result<(), (&'static str, io::Error)> {
        for (name, option, value) in [
            ("WSGI0062: send-buffer-size", libc::SO_SNDBUF, send),
            ("WSGI0063: receive-buffer-size", libc::SO_RCVBUF, receive),
        ] {
            if value == 0 {
                continue;
            }
            let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
            let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
            // SAFETY: setsockopt reads `size` bytes from the address.
            let result = unsafe {
                libc::setsockopt(
                    self.number(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const value).cast(),
                    size,
                )
            };
            checked(result as isize).map_err(|error| (name, error))?;
        }
        Ok(())
    }

    /// Bounds each receive and send that blocks.
    ///
    /// # Errors
    /// When the kernel does not take the value.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let value = libc::timeval {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: timeout.subsec_micros().into(),
        };
        let size = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or(0);
        for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            // SAFETY: setsockopt reads `size` bytes from the address.
            let result = unsafe {
                libc::setsockopt(
                    self.number(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const value).cast(),
                    size,
                )
            };
            checked(result as isize)?;
        }
        Ok(())
    }

    /// Receives what is there, or waits for it.
    ///
    /// # Errors
    /// A broken connection, or a timeout (`WouldBlock`).
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            // SAFETY: recv writes at most that many bytes to the address.
            let result =
                unsafe { libc::recv(self.number(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            match checked(result) {
                Ok(0) => return Ok(Received::End),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Self::receive`], and takes at most `N` descriptors that come along, closed on exec.
    ///
    /// # Errors
    /// See [`Self::receive`].
    pub(crate) fn receive_with<const N: usize>(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(Received, Vec<OwnedFd>)> {
        // Eight bytes for each and sixteen for the header are more than CMSG_SPACE wants.
        let mut space = vec![0_u64; N + 2];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zero is a valid msghdr, which is given the one part and the space. recvmsg
        // writes within their lengths. The CMSG macros walk the space within the length that it
        // wrote back, and each descriptor in there is a new one that is ours.
        unsafe {
            let size = libc::CMSG_SPACE(u32::try_from(N * size_of::<RawFd>()).unwrap_or(0));
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = space.as_mut_ptr().cast();
            message.msg_controllen = (size as usize).min(space.len() * 8);
            let count = loop {
                let result = libc::recvmsg(self.number(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
                match checked(result) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    outcome => break outcome?,
                }
            };
            let mut descriptors = Vec::new();
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while !header.is_null() {
                if (*header).cmsg_level == libc::SOL_SOCKET
                    && (*header).cmsg_type == libc::SCM_RIGHTS
                {
                    let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                    let data: *const RawFd = libc::CMSG_DATA(header).cast();
                    descriptors.extend(
                        (0..bytes / size_of::<RawFd>())
                            .map(|at| OwnedFd::from_raw_fd(data.add(at).read_unaligned())),
                    );
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
            let received = if count == 0 { Received::End } else { Received::Bytes(count) };
            Ok((received, descriptors))
        }
    }

    /// Receives what is there, or waits for it: `head` is filled first, what is beyond goes behind the
    /// end of `body`, at most `room` bytes. Returns how many bytes in all.
    ///
    /// # Errors
    /// As for [`Self::receive`].
    pub(crate) fn receive_behind(
        &self,
        head: &mut [u8],
        body: &mut Vec<u8>,
        room: usize,
    ) -> io::Result<Received> {
        body.reserve(room);
        let spare = body.spare_capacity_mut();
        let room = room.min(spare.len());
        let mut parts = [
            libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() },
            libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: room },
        ];
        loop {
            // SAFETY: recvmsg writes within the two parts, whose lengths are those of `head` and of
            // the memory behind the vector's end; all zero is a valid msghdr.
            let result = unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = parts.as_mut_ptr();
                message.msg_iovlen = parts.len();
                libc::recvmsg(self.number(), &raw mut message, 0)
            };
            match checked(result) {
                Ok(0) => return Ok(Received::End),
                Ok(count) => {
                    let beyond = count.saturating_sub(head.len()).min(room);
                    // SAFETY: set_len wants initialised bytes within the capacity: recvmsg fills the
                    // parts in order, so that many bytes behind the end were written.
                    unsafe { body.set_len(body.len() + beyond) };
                    return Ok(Received::Bytes(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what can be sent of `parts`; with `descriptor`, that goes with the first byte.
    /// Without `wait` it does not block. Returns how many bytes went.
    ///
    /// # Errors
    /// A broken connection, a timeout, or, without `wait`, a full socket (`WouldBlock`).
    pub(crate) fn send(
        &self,
        parts: &[IoSlice<'_>],
        descriptor: Option<BorrowedFd<'_>>,
        wait: bool,
    ) -> io::Result<usize> {
        #[repr(C, align(8))]
        struct Space([u8; 64]);
        let mut space = Space([0; 64]);
        loop {
            // SAFETY: sendmsg reads the parts (IoSlice has the layout of iovec) and the control
            // message, which is built in `space` with the macros of the system; all zero is a valid
            // msghdr. CMSG_SPACE of one descriptor is 24 bytes.
            let result = unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = parts.as_ptr().cast_mut().cast();
                message.msg_iovlen = parts.len();
                if let Some(descriptor) = descriptor {
                    let size = u32::try_from(size_of::<RawFd>()).unwrap_or(4);
                    message.msg_control = space.0.as_mut_ptr().cast();
                    message.msg_controllen = libc::CMSG_SPACE(size) as usize;
                    let control = libc::CMSG_FIRSTHDR(&raw const message);
                    (*control).cmsg_level = libc::SOL_SOCKET;
                    (*control).cmsg_type = libc::SCM_RIGHTS;
                    (*control).cmsg_len = libc::CMSG_LEN(size) as usize;
                    libc::CMSG_DATA(control).cast::<RawFd>().write(descriptor.as_raw_fd());
                }
                let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
                libc::sendmsg(self.number(), &raw const message, flags)
            };
            match checked(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

/// Waits until one of `descriptors` is readable or at its end, at most `timeout`. The result says
/// which are.
///
/// # Errors
/// `Interrupted` when a signal came.
pub(crate) fn poll_readable<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut entries = descriptors.map(|descriptor| libc::pollfd {
        fd: descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = timeout.map_or(-1, |timeout| {
        // Rounded up, so that a short rest is not polled away at full speed.
        i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: poll reads and writes N entries.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout) };
    checked(result as isize)?;
    Ok(entries.map(|entry| entry.revents != 0))
}

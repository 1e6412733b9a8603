//! Where the person at this terminal is connected from, as sshd told.

use std::net::IpAddr;

/// Processes looked at, from this one up.
const ANCESTORS_MAX: usize = 32;

/// The address of the other end of the SSH session, if there is one. `sudo` drops the variable, so the environments of the
/// processes above are asked too, where that is allowed.
pub(crate) fn connected_from() -> Vec<IpAddr> {
    let own = std::env::var("SSH_CONNECTION").ok();
    let address = own.as_deref().and_then(client).or_else(|| {
        let mut process = Some(std::os::unix::process::parent_id());
        (0..ANCESTORS_MAX).find_map(|_| {
            let id = process.filter(|id| *id > 1)?;
            process = parent(id);
            let environment = std::fs::read(format!("/proc/{id}/environ")).ok()?;
            environment
                .split(|&byte| byte == 0)
                .find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))
                .and_then(|value| client(std::str::from_utf8(value).ok()?))
        })
    });
    address.into_iter().collect()
}

/// `203.0.113.9 51234 192.0.2.1 22`
fn client(connection: &str) -> Option<IpAddr> {
    let address = connection.split(' ').next()?;
    // A link-local address may name its interface.
    address.split('%').next()?.parse().ok()
}

fn parent(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_is_the_first_of_four_words() {
        assert_eq!(
            client("203.0.113.9 51234 192.0.2.1 22"),
            Some("203.0.113.9".parse().unwrap())
        );
        assert_eq!(
            client("fe80::1%eth0 51234 fe80::2%eth0 22"),
            Some("fe80::1".parse().unwrap())
        );
        assert_eq!(client(""), None);
        assert_eq!(client("UNKNOWN 1 2 3"), None);
    }

    #[test]
    fn processes_have_parents() {
        assert_eq!(
            parent(std::process::id()),
            Some(std::os::unix::process::parent_id())
        );
    }
}

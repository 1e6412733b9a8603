//! The node, its pools' probes, and what must fit into what.

use crate::context::Checker;
use crate::limits::{EVENTS_KEPT_MIN, SOCKET_PATH_MAX};
use crate::model::{ProxyProtocol, Settings};
use crate::networks::Networks;
use crate::scalar::{show_duration, show_size};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    trust(settings, checker);
    handshakes(settings, checker);
    kept(settings, checker);
    let socket = &settings.node.admin.socket;
    let bytes = socket.as_os_str().len();
    if bytes > SOCKET_PATH_MAX
        && !checker.is_bad("node.admin.socket")
        && !checker.is_bad("node.state_dir")
    {
        let what = format!(
            ": {} has {bytes} bytes; a Unix socket can have {SOCKET_PATH_MAX}",
            socket.display()
        );
        checker.error(
            "node.admin.socket",
            &what,
            "set a shorter path here or at `node.state_dir`",
        );
    }
    for (name, pool) in &settings.pools {
        let Some(health) = &pool.health else { continue };
        let key = format!("pools.{name}.health.timeout");
        if health.timeout > health.interval
            && !checker.is_bad(&key)
            && !checker.is_bad(&format!("pools.{name}.health.interval"))
        {
            let (timeout, interval) = (
                show_duration(health.timeout),
                show_duration(health.interval),
            );
            let what = format!(": {timeout} is longer than `interval`, {interval}");
            checker.error(
                &key,
                &what,
                "one probe ends before the next one starts: make it shorter, or `interval` longer",
            );
        }
    }
}

/// What is kept of events is two files, each of which has to hold what is written at once.
fn kept(settings: &Settings, checker: &mut Checker<'_, '_>) {
    const KEY: &str = "node.log.events_kept";
    let bytes = settings.node.log.events_kept;
    if (1..EVENTS_KEPT_MIN).contains(&bytes) && !checker.is_bad(KEY) {
        let (is, least) = (show_size(bytes), show_size(EVENTS_KEPT_MIN));
        let what = format!(": {is} is less than {least}");
        checker.error(KEY, &what, "make it larger, or 0 to keep none on disk");
    }
}

/// The parts of a handshake's time.
fn handshakes(settings: &Settings, checker: &mut Checker<'_, '_>) {
    const HELLO: &str = "node.client.hello_timeout";
    let client = &settings.node.client;
    if client.hello_timeout > client.handshake_timeout
        && !checker.is_bad(HELLO)
        && !checker.is_bad("node.client.handshake_timeout")
    {
        let (hello, handshake) = (
            show_duration(client.hello_timeout),
            show_duration(client.handshake_timeout),
        );
        checker.error(
            HELLO,
            &format!(": {hello} is longer than `handshake_timeout`, {handshake}"),
            "a ClientHello is the first part of its handshake: make it shorter, or `handshake_timeout` longer",
        );
    }
}

/// Whom the word of is believed: nobody's by accident.
fn trust(settings: &Settings, checker: &mut Checker<'_, '_>) {
    const LIST: &str = "node.client.trusted_proxies";
    const EVERYONE: &str = "node.client.trust_everyone";
    let client = &settings.node.client;
    let any_bad =
        (0..client.trusted_proxies.len()).any(|i| checker.is_bad(&format!("{LIST}[{i}]")));
    if checker.is_bad(LIST) || checker.is_bad(EVERYONE) || any_bad {
        return;
    }
    let half = Networks::new(&client.trusted_proxies).half_of();
    match half {
        Some(family) if !client.trust_everyone => checker.error(
            LIST,
            &format!(" trusts half of all {family} addresses or more: anybody there could say who he is"),
            "name the addresses of your proxies; if nobody else can reach this node, also set `node.client.trust_everyone: true`",
        ),
        None if client.trust_everyone => checker.error(
            EVERYONE,
            " has no effect: `node.client.trusted_proxies` does not trust everyone",
            "remove it",
        ),
        _ => {}
    }
    let wanting = settings
        .listeners
        .iter()
        .position(|listener| listener.proxy_protocol == ProxyProtocol::Required);
    if let Some(index) = wanting
        && client.trusted_proxies.is_empty()
    {
        checker.error(
            &format!("listeners[{index}].proxy_protocol"),
            ": nobody is trusted to send the header, so nobody could connect",
            "name your load balancers in `node.client.trusted_proxies`",
        );
    }
}

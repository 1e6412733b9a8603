//! The node, its pools' probes, and what must fit into what.

use crate::context::Checker;
use crate::limits::SOCKET_PATH_MAX;
use crate::model::Settings;
use crate::scalar::show_duration;

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
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

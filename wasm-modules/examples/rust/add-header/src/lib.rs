//! Adds one header to every response: a whole plugin in one screen.
//!
//! Configuration: the header as `name: value`; without one it is `x-served-by: aegis`. A configuration that is no
//! header refuses the start, and the line it logs is what the operator reads.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { header: Rc::new(("x-served-by".into(), "aegis".into())) }));
}}

type Header = (String, String);

struct Plugin {
    header: Rc<Header>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Some(bytes) = self.get_plugin_configuration() else {
            return true;
        };
        match parse(&String::from_utf8_lossy(&bytes)) {
            Ok(header) => {
                self.header = Rc::new(header);
                true
            }
            Err(why) => {
                // The SDK's log macros need the `log` crate; this is the host function itself.
                let _ = proxy_wasm::hostcalls::log(LogLevel::Critical, &why);
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            header: self.header.clone(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn parse(config: &str) -> Result<Header, String> {
    let (name, value) = config
        .split_once(':')
        .ok_or_else(|| format!("`{config}` is no header: write `name: value`"))?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    {
        return Err(format!("`{name}` is no header name"));
    }
    Ok((name, value))
}

struct Stream {
    header: Rc<Header>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header(&self.header.0, Some(&self.header.1));
        Action::Continue
    }
}

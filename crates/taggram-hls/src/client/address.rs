//! Which addresses may be asked. A playlist or a redirect can name any: without care a stranger's
//! server would make this program knock at the doors of its own house.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::{ErrorKind, HlsError};

/// Longest address followed.
const LONGEST: usize = 8192;

pub(super) fn typed(text: &str) -> Result<Url, HlsError> {
    let url = Url::parse(text)
        .map_err(|e| HlsError::malformed(format!("\"{text}\" is no address: {e}")))?;
    check_scheme(&url)?;
    Ok(url)
}

fn refused(message: String) -> HlsError {
    HlsError::new(ErrorKind::Refused, message)
}

fn check_scheme(url: &Url) -> Result<(), HlsError> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refused(format!(
            "only http and https addresses are fetched, not those of {}",
            url.scheme()
        )));
    }
    Ok(())
}

/// Who may be asked.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Host and port that a person asked for.
    first: (String, Option<u16>),
    secure: bool,
    allow_private: bool,
}

impl Guard {
    pub fn new(first: &Url, allow_private: bool) -> Self {
        Self { first: place(first), secure: first.scheme() == "https", allow_private }
    }

    /// Checks an address before it is asked; its name is checked when it is resolved.
    pub fn check(&self, url: &Url) -> Result<(), HlsError> {
        check_scheme(url)?;
        if url.as_str().len() > LONGEST {
            return Err(HlsError::new(
                ErrorKind::OverLimit,
                format!("an address has {} characters", url.as_str().len()),
            ));
        }
        if self.secure && url.scheme() == "http" {
            return Err(refused(format!("{url} is not encrypted, and what named it was")));
        }
        if self.allow_private || place(url) == self.first {
            return Ok(());
        }
        let private = match url.host() {
            Some(Host::Ipv4(ip)) => !is_public(ip.into()),
            Some(Host::Ipv6(ip)) => !is_public(ip.into()),
            // Other names are judged by what they resolve to.
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
            None => true,
        };
        if private {
            return Err(refused(format!(
                "{url} is on this machine or in a private network; --allow-private permits that"
            )));
        }
        Ok(())
    }
}

fn place(url: &Url) -> (String, Option<u16>) {
    (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default())
}

impl Guard {
    /// What a name stands for: none but public addresses, except for the name that was typed.
    pub async fn lookup(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, HlsError> {
        let unknown = |e: std::io::Error| {
            HlsError::new(ErrorKind::Unreadable, format!("the name {name} is not known: {e}"))
        };
        let found = tokio::net::lookup_host((name, port)).await.map_err(unknown)?;
        let typed = self.first.0.trim_matches(['[', ']']);
        let any = self.allow_private || name == typed;
        let allowed: Vec<SocketAddr> = found.filter(|a| any || is_public(a.ip())).collect();
        if allowed.is_empty() {
            return Err(refused(format!(
                "{name} is a name for this machine or a private network; --allow-private permits that"
            )));
        }
        Ok(allowed)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let allowed = guard.lookup(name.as_str(), 0).await?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet (IANA's special-purpose registries).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        // Shared by carriers (RFC 6598), protocol assignments, benchmarks.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let s = ip.segments();
    // 64:ff9b::/96 and 2002::/16 carry an IPv4 address inside.
    if s[0] == 0x64 && s[1] == 0xff9b {
        return is_public_v4(embedded(s[6], s[7]));
    }
    if s[0] == 0x2002 {
        return is_public_v4(embedded(s[1], s[2]));
    }
    // Global unicast is 2000::/3; of it 2001:db8::/32 is for documents, 2001::/32 for tunnels.
    s[0] & 0xe000 == 0x2000 && !(s[0] == 0x2001 && (s[1] == 0x0db8 || s[1] == 0))
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn what_may_be_asked_depends_on_what_was_typed() {
        let check = |first: &str, then: &str, private| {
            Guard::new(&typed(first).unwrap(), private).check(&Url::parse(then).unwrap()).is_ok()
        };
        let public = "http://radio.example/a.m3u8";
        assert!(check(public, "http://cdn.example/1.ts", false));
        assert!(check(public, "http://radio.example:8000/1.ts", false));
        assert!(check(public, "https://cdn.example/1.ts", false));
        for inside in [
            "http://127.0.0.1/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://0x7f.1/x",
            "http://2130706433/x",
            "http://192.168.0.1/x",
            "http://169.254.169.254/latest/",
        ] {
            assert!(!check(public, inside, false), "{inside}");
            assert!(check(public, inside, true), "{inside}");
        }
        for scheme in ["file:///etc/passwd", "ftp://cdn.example/x", "data:,x", "gopher://a/"] {
            assert!(!check(public, scheme, true), "{scheme}");
        }
        // Typed is asked for; another port of the same machine is not.
        let own = "http://127.0.0.1:8080/a.m3u8";
        assert!(check(own, "http://127.0.0.1:8080/b.ts", false));
        assert!(!check(own, "http://127.0.0.1:22/", false));
        assert!(!check("https://radio.example/", "http://radio.example/", false));
        assert!(typed("file:///etc/passwd").is_err());
        assert!(typed("radio.example").is_err());
    }
}

//! [`HttpRequest`]: what a client sends to the daemon's API.

/// A request of HTTP/1.1 that says how long its body is.
#[derive(Clone, Debug)]
pub struct HttpRequest<'a> {
    /// Without the empty line that ends it.
    head: String,
    body: &'a str,
}

impl<'a> HttpRequest<'a> {
    /// A request with a body, which may be empty.
    pub fn new(method: &str, target: &str, body: &'a str) -> Self {
        let len = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n");
        Self { head, body }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// The same as the last one of its connection, which ends with the answer.
    pub fn last(self) -> Self {
        self.header("Connection", "close")
    }

    /// What goes before the body.
    pub fn head(&self) -> Vec<u8> {
        format!("{}\r\n", self.head).into()
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head(), self.body.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let request =
            HttpRequest::new("PUT", "/v1/config", "[lb]\n").header("Accept", "*/*").last();
        let head = "PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nAccept: */*\r\n\
                    Connection: close\r\n\r\n";
        assert_eq!(request.head(), head.as_bytes());
        assert_eq!(request.bytes(), format!("{head}[lb]\n").as_bytes());
    }
}

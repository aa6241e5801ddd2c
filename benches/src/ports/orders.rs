//! [`Orders`]: how a pair's parent tells its two processes what to do: one JSON value a line, orders on
//! standard input, answers on standard output.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use serde::{Deserialize, Serialize};

use crate::ports::forward_report::ForwardReport;
use crate::ports::generator_report::GeneratorReport;

/// What the parent wants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Of the device under test: what happened since the last time.
    Report,
    /// Of the generator: a load, and what came of it.
    Load {
        /// Packets per second; absent for as many as possible.
        rate: Option<u64>,
        /// Seconds.
        seconds: f64,
    },
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It can be given orders; these are its ports' Ethernet addresses.
    Ready(Vec<String>),
    /// To [`Order::Report`].
    Forwarded(ForwardReport),
    /// To [`Order::Load`].
    Generated(GeneratorReport),
    /// It ends.
    Failed(String),
}

impl Answer {
    /// Says it.
    ///
    /// # Errors
    ///
    /// When nobody listens any more.
    pub fn say(&self) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let mut out = std::io::stdout().lock();
        let said = out.write_all((text + "\n").as_bytes()).and_then(|()| out.flush());
        said.map_err(|error| format!("the parent is gone: {error}"))
    }

    /// Says why orders could not be followed, if so: the parent is told, if it is still there, and
    /// nobody else.
    ///
    /// # Errors
    ///
    /// When nobody listens any more.
    pub fn say_failure(followed: Result<(), String>) -> Result<(), String> {
        followed.or_else(|reason| Self::Failed(reason).say())
    }
}

/// Orders as they come.
#[derive(Debug)]
pub struct Orders(Receiver<Result<Order, String>>);

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Nothing new.
    Nothing,
    /// An order.
    Order(Order),
    /// The parent is done, or gone.
    End,
}

impl Orders {
    /// Reads standard input in a thread of its own. Called before EAL starts, which would bind the
    /// thread to the CPU that is measured.
    pub fn listen() -> Self {
        Self::read(std::io::stdin())
    }

    fn read(input: impl std::io::Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(input).lines() {
                let Ok(line) = line else { break };
                let order = serde_json::from_str(&line).map_err(|e| format!("{line}: {e}"));
                if sender.send(order).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next order, without waiting.
    ///
    /// # Errors
    ///
    /// A line that is no order.
    pub fn next(&self) -> Result<Next, String> {
        match self.0.try_recv() {
            Ok(order) => order.map(Next::Order),
            Err(TryRecvError::Empty) => Ok(Next::Nothing),
            Err(TryRecvError::Disconnected) => Ok(Next::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &'static str) -> Vec<Result<Next, String>> {
        let orders = Orders::read(text.as_bytes());
        let mut all = Vec::new();
        loop {
            match orders.next() {
                Ok(Next::Nothing) => std::thread::yield_now(),
                Ok(Next::End) => return all,
                other => all.push(other),
            }
        }
    }

    #[test]
    fn orders_are_read_until_the_parent_goes() {
        let load = Order::Load { rate: Some(5), seconds: 0.5 };
        let text = "\"report\"\n{\"load\":{\"rate\":5,\"seconds\":0.5}}\n";
        assert_eq!(all(text), [Ok(Next::Order(Order::Report)), Ok(Next::Order(load))]);
        assert!(all("nonsense\n")[0].as_ref().unwrap_err().contains("nonsense"));
        assert!(all("").is_empty());
    }

    #[test]
    fn what_is_said_is_understood() {
        for answer in [
            Answer::Ready(vec!["02:00:00:00:00:01".to_owned()]),
            Answer::Forwarded(ForwardReport::default()),
            Answer::Generated(GeneratorReport::default()),
            Answer::Failed("why".to_owned()),
        ] {
            let text = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
        }
    }
}

//! [`Kernel`]: a small piece of work, done again and again.

/// What a kernel does once it is prepared: all of its operations, once.
pub(super) type Run = Box<dyn FnMut()>;

/// A part of a packet's way.
pub struct Kernel {
    group: &'static str,
    name: String,
    operations: u64,
    counted: bool,
    prepare: Box<dyn Fn() -> Run>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernel({})", self.full_name())
    }
}

impl Kernel {
    /// Work called `name` among those of a group. What `prepare` returns does `operations`
    /// operations whenever it is called.
    pub fn new<R: FnMut() + 'static>(
        group: &'static str,
        name: impl Into<String>,
        operations: usize,
        prepare: impl Fn() -> R + 'static,
    ) -> Self {
        let prepare = Box::new(move || -> Run { Box::new(prepare()) });
        Self { group, name: name.into(), operations: operations as u64, counted: false, prepare }
    }

    /// The same, whose instructions are counted too.
    #[must_use]
    pub fn and_counted(self) -> Self {
        Self { counted: true, ..self }
    }

    /// Whether its instructions are counted.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// What kind of work it is.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// Its name in the group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name among all.
    pub fn full_name(&self) -> String {
        format!("{}: {}", self.group, self.name)
    }

    /// Operations of one run.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Makes everything that the work needs.
    pub fn prepare(&self) -> Run {
        (self.prepare)()
    }
}

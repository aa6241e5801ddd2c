//! Values that are one of a few words.

/// A type each of whose values is one word.
pub(crate) trait Choice: Copy + 'static {
    /// The words, in the order help lists them.
    const WORDS: &'static [(&'static str, Self)];
    /// Other words that mean the same, known from other load balancers.
    const ALIASES: &'static [(&'static str, Self)];
    /// The words alone.
    const NAMES: &'static [&'static str];
}

/// Declares an enum whose values are words; `"word" | "alias"` gives one a second spelling.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order help lists them.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word the CLI and TOML use.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::choice::Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $name::$variant)),+];
            const ALIASES: &'static [(&'static str, Self)] =
                &[$($(($alias, $name::$variant),)*)+];
            const NAMES: &'static [&'static str] = &[$($word),+];
        }
    };
}

pub(crate) use choices;

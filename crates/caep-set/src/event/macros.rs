//! How an event is declared: its URI, its section, and the members that it requires and allows.

/// Declares an event: a struct with a field for each member, how it is read and how it is written.
///
/// Required members are arguments of `new`; the others are set afterwards.
macro_rules! event {
    (
        $(#[$doc:meta])*
        $name:ident, $uri:expr, $rule:literal
        $(, requires { $($(#[$need_doc:meta])* $need:ident: $need_type:ty = $need_name:literal),+ $(,)? })?
        $(, allows { $($(#[$may_doc:meta])* $may:ident: $may_type:ty = $may_name:literal),+ $(,)? })?
        $(, says $common:ident)?
    ) => {
        $(#[$doc])*
        #[non_exhaustive]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($($(#[$need_doc])* pub $need: $need_type,)+)?
            $($($(#[$may_doc])* pub $may: Option<$may_type>,)+)?
            $(/// What every CAEP event may say.
            pub $common: crate::event::Common,)?
            /// Members that the standard does not name, as they came.
            pub others: Members,
        }

        impl $name {
            /// The URI of this type of event.
            pub const URI: &'static str = $uri;

            /// With what is required, and nothing else.
            #[allow(clippy::new_without_default, reason = "an event is stated, never assumed")]
            pub fn new($($($need: impl Into<$need_type>),+)?) -> Self {
                Self {
                    $($($need: $need.into(),)+)?
                    $($($may: None,)+)?
                    $($common: crate::event::Common::default(),)?
                    others: Members::new(),
                }
            }

            pub(crate) fn read<'t>(
                #[allow(unused_mut)] mut members: crate::members::Borrowed<'t>,
                findings: &mut crate::finding::Findings,
            ) -> Result<Self, crate::members::Borrowed<'t>> {
                findings.check($rule);
                $($(let $need = crate::event::required::<$need_type>(&members, $need_name, $rule, findings);)+)?
                $($(let $may = crate::event::optional::<$may_type>(&members, $may_name, $rule, findings);)+)?
                $(let $common = crate::event::Common::read(&members, findings);)?
                $($(let Some($need) = $need else { return Err(members) };)+)?
                $($(let Ok($may) = $may else { return Err(members) };)+)?
                $(let Ok($common) = $common else { return Err(members) };)?
                $($(members.take($need_name);)+)?
                $($(members.take($may_name);)+)?
                $($common.forget(&mut members);)?
                Ok(Self {
                    $($($need,)+)?
                    $($($may,)+)?
                    $($common,)?
                    others: members.to_members(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $($(map.serialize_entry($need_name, &self.$need)?;)+)?
                $($(if let Some(value) = &self.$may {
                    map.serialize_entry($may_name, value)?;
                })+)?
                $(self.$common.write(&mut map)?;)?
                self.others.write(&mut map)?;
                map.end()
            }
        }

        impl From<$name> for Event {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        }
    };
}

pub(crate) use event;

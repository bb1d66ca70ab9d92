//! How a value is written in a form, and read from it.
//!
//! A form is a plain struct or enum that says field by field what stands in the bytes of
//! one version. It never changes. [`form!`] declares one and, from the same list, its
//! conversions from and to a type of the code that has the same fields. If the type
//! changes, the list no longer compiles: then the conversion is written by hand, next to
//! the form, with the value that an older version implies.
//!
//! Writing borrows the value, so that nothing is copied: a state of 10,000 hosts is
//! encoded at each checkpoint.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use serde::ser::SerializeTuple as _;
use serde::{Serialize, Serializer};

use crate::group::Tag;
use crate::id::{ConfigName, DeploymentId, Digest, GroupName, HostId, MeshId, VoterId};
use crate::io::ProbeId;
use crate::time::LedgerTime;

/// A value that can be written in the form `F`, and read from it.
pub(crate) trait Formed<F>: Sized {
    /// Serializes the value in this form.
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;

    /// Converts what was read.
    fn read(form: F) -> Self;
}

/// Serializes a value in the form `F`.
pub(crate) struct As<'a, F, T>(&'a T, PhantomData<F>);

impl<'a, F, T: Formed<F>> As<'a, F, T> {
    pub(crate) fn new(value: &'a T) -> Self {
        As(value, PhantomData)
    }
}

impl<F, T: Formed<F>> Serialize for As<'_, F, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

/// Declares forms, with the conversions from and to types that have the same fields:
/// `struct Form = path::Type { field: its form, ... }`, tuple structs with a name for each
/// field, and enums. `without` names the fields and variants that came later: the fields
/// are at their defaults when an older version is read, and a value with such a variant
/// cannot be written in it ([`Versioned::version`](crate::form::Versioned::version) says so
/// before).
macro_rules! form {
    () => {};
    (struct $form:ident $(without $($late:ident),+)? = $of:ty { $($field:ident: $type:ty),* $(,)? } $($rest:tt)*) => {
        #[derive(serde::Deserialize)]
        pub(crate) struct $form { $($field: $type,)* }

        impl $crate::form::written::Formed<$form> for $of {
            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple as _;
                let Self { $($field,)* $($($late: _,)+)? } = self;
                let mut to = to.serialize_tuple(<[&str]>::len(&[$(stringify!($field)),*]))?;
                $(to.serialize_element(&$crate::form::written::As::<$type, _>::new($field))?;)*
                to.end()
            }

            fn read(form: $form) -> Self {
                let $form { $($field),* } = form;
                Self {
                    $($field: $crate::form::written::Formed::<$type>::read($field),)*
                    $($($late: Default::default(),)+)?
                }
            }
        }
        $crate::form::written::form! { $($rest)* }
    };
    (struct $form:ident($field:ident: $type:ty) = $of:ty; $($rest:tt)*) => {
        #[derive(serde::Deserialize)]
        pub(crate) struct $form($type);

        impl $crate::form::written::Formed<$form> for $of {
            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let Self($field) = self;
                $crate::form::written::Formed::<$type>::write($field, to)
            }

            fn read($form($field): $form) -> Self {
                Self($crate::form::written::Formed::<$type>::read($field))
            }
        }
        $crate::form::written::form! { $($rest)* }
    };
    (enum $form:ident $(without $($late:ident),+)? = $of:ty {
        $($variant:ident
            $(( $($item:ident: $item_type:ty),* ))?
            $({ $($field:ident: $type:ty),* $(,)? })?
        ),* $(,)?
    } $($rest:tt)*) => {
        #[derive(serde::Deserialize)]
        #[allow(clippy::large_enum_variant, reason = "read one at a time, and converted at once")]
        pub(crate) enum $form {
            $($variant $(( $($item_type),* ))? $({ $($field: $type),* })?,)*
        }

        impl $crate::form::written::Formed<$form> for $of {
            #[allow(unused_mut, unused_imports, reason = "a variant may have no fields")]
            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTupleVariant as _;
                /// The numbers of the variants, in the order of the form.
                enum Number { $($variant),* }
                let name = stringify!($form);
                match self {
                    $(Self::$variant $(( $($item),* ))? $({ $($field),* })? => {
                        let number = Number::$variant as u32;
                        let fields = <[&str]>::len(&[
                            $($(stringify!($item)),*)? $($(stringify!($field)),*)?
                        ]);
                        let mut to =
                            to.serialize_tuple_variant(name, number, stringify!($variant), fields)?;
                        $($(to.serialize_field(&$crate::form::written::As::<$item_type, _>::new($item))?;)*)?
                        $($(to.serialize_field(&$crate::form::written::As::<$type, _>::new($field))?;)*)?
                        to.end()
                    })*
                    $($(Self::$late { .. } => {
                        Err(serde::ser::Error::custom("this version cannot say it"))
                    })+)?
                }
            }

            fn read(form: $form) -> Self {
                match form {
                    $($form::$variant $(( $($item),* ))? $({ $($field),* })? => Self::$variant
                        $(( $($crate::form::written::Formed::<$item_type>::read($item)),* ))?
                        $({ $($field: $crate::form::written::Formed::<$type>::read($field)),* })?,)*
                }
            }
        }
        $crate::form::written::form! { $($rest)* }
    };
}
pub(crate) use form;

/// Values that are their own form. Their bytes cannot change, because golden files hold
/// them, and they check themselves when they are read.
macro_rules! leaf {
    ($($type:ty),* $(,)?) => {$(
        impl Formed<$type> for $type {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.serialize(to)
            }

            fn read(form: $type) -> Self {
                form
            }
        }
    )*};
}

leaf!(bool, u8, u16, u32, u64, u128, i64, String, Duration, [u8; 32], [[u8; 32]; 2]);
leaf!(HostId, MeshId, VoterId, DeploymentId, Digest, GroupName, ConfigName, Tag, ProbeId, LedgerTime);

impl<F, T: Formed<F>> Formed<Option<F>> for Option<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => to.serialize_some(&As::new(value)),
            None => to.serialize_none(),
        }
    }

    fn read(form: Option<F>) -> Self {
        form.map(T::read)
    }
}

impl<F, T: Formed<F>> Formed<Box<F>> for Box<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self, to)
    }

    fn read(form: Box<F>) -> Self {
        Box::new(T::read(*form))
    }
}

/// A part that is borrowed to be written, and owned once it is read.
impl<F, T: Formed<F> + Clone> Formed<F> for Cow<'_, T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self, to)
    }

    fn read(form: F) -> Self {
        Cow::Owned(T::read(form))
    }
}

/// Lists and sets are written alike.
macro_rules! list {
    ($($list:ident $($bound:ident)?),*) => {$(
        impl<F, T: Formed<F> $(+ $bound)?> Formed<Vec<F>> for $list<T> {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.iter().map(As::new))
            }

            fn read(form: Vec<F>) -> Self {
                form.into_iter().map(T::read).collect()
            }
        }
    )*};
}

list!(Vec, VecDeque, BTreeSet Ord);

impl<FK, FV, K: Formed<FK> + Ord, V: Formed<FV>> Formed<Vec<(FK, FV)>> for BTreeMap<K, V> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(key, value)| (As::new(key), As::new(value))))
    }

    fn read(form: Vec<(FK, FV)>) -> Self {
        form.into_iter().map(|(key, value)| (K::read(key), V::read(value))).collect()
    }
}

macro_rules! tuple {
    ($($length:literal: $($form:ident $type:ident $field:ident),*;)*) => {$(
        impl<$($form, $type: Formed<$form>),*> Formed<($($form,)*)> for ($($type,)*) {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let ($($field,)*) = self;
                let mut to = to.serialize_tuple($length)?;
                $(to.serialize_element(&As::new($field))?;)*
                to.end()
            }

            fn read(($($field,)*): ($($form,)*)) -> Self {
                ($($type::read($field),)*)
            }
        }
    )*};
}

tuple! {
    2: FA A a, FB B b;
    4: FA A a, FB B b, FC C c, FD D d;
    5: FA A a, FB B b, FC C c, FD D d, FE E e;
}

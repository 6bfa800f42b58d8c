/// Something that an operator should know of a store that answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concern {
    /// What it is and what mends it, in one line. The same words as long as it is the same.
    pub what: String,
    /// Whether the store takes no writes as long as this is so.
    pub refuses_writes: bool,
}

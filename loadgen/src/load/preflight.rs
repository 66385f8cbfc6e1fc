use super::run::Setup;
pub(crate) struct Findings;
impl Findings {
    pub(crate) fn is_possible(&self) -> bool {
        true
    }
    pub(crate) fn has_warnings(&self) -> bool {
        false
    }
}
impl std::fmt::Display for Findings {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub(crate) fn examine(_s: &Setup) -> Findings {
    Findings
}

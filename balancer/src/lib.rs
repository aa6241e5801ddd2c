//! stub
pub const MAX_VIPS: usize = 65_536;
#[derive(Debug)] pub struct LbTables;
#[derive(Debug)] pub struct StickyTable;
#[derive(Debug)] pub struct StickyOwner;
impl StickyOwner { pub fn sweep(&mut self, _:usize,_:u32,_:&LbTables){} pub fn migrate_from(&mut self,_:&mut StickyOwner,_:u32){} }

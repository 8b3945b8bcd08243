//! Implements the handle to a machine in memory.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, Machine, MachineInfo, Result};

use crate::exec::FakeExec;
use crate::world::{Key, World, world};

pub(crate) struct FakeMachine {
    pub world: Arc<Mutex<World>>,
    pub key: Key,
}

impl FakeMachine {
    /// Records a call of an operation.
    fn call(&self, world: &mut World, operation: &str, what: &str) -> Result<()> {
        let space = if what.is_empty() { "" } else { " " };
        world.call(format!("{operation} {}/{}{space}{what}", self.key.0, self.key.1))
    }
}

#[async_trait]
impl Machine for FakeMachine {
    fn name(&self) -> &str {
        &self.key.1
    }

    async fn info(&self) -> Result<MachineInfo> {
        Ok(world(&self.world).machine(&self.key)?.info(&self.key))
    }

    async fn power_on(&self) -> Result<()> {
        let mut world = world(&self.world);
        self.call(&mut world, "power-on", "")?;
        let greeting = world.greeting.clone();
        let machine = world.whole(&self.key)?;
        if !machine.running {
            machine.running = true;
            machine.console = greeting;
        }
        Ok(())
    }

    async fn power_off(&self, _grace: Duration) -> Result<()> {
        let mut world = world(&self.world);
        self.call(&mut world, "power-off", "")?;
        world.machine(&self.key)?.running = false;
        Ok(())
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        let answer = {
            let mut world = world(&self.world);
            self.call(&mut world, "exec", &request.argv.join(" "))?;
            if !world.whole(&self.key)?.running {
                return Err(Error::new(ErrorKind::State, format!("machine {} is not running", self.key.1)));
            }
            world.answer.clone()
        };
        // The lock is released, so that an answer may use the driver.
        let (cluster, machine) = (self.key.0.as_str(), self.key.1.as_str());
        Ok(answer.map(|answer| answer(&FakeExec { cluster, machine, exec: &request })).unwrap_or_default())
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        let mut world = world(&self.world);
        for file in files {
            self.call(&mut world, "put", &file.path.to_string_lossy())?;
            world.whole(&self.key)?.files.insert(file.path.clone(), file.clone());
        }
        Ok(())
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        let mut world = world(&self.world);
        self.call(&mut world, "get", &path.to_string_lossy())?;
        let file = world.whole(&self.key)?.files.get(path);
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no {} in the machine", path.display()));
        file.map(|file| file.content.clone()).ok_or_else(missing)
    }

    async fn console(&self) -> Result<Vec<u8>> {
        Ok(world(&self.world).machine(&self.key)?.console.clone())
    }
}

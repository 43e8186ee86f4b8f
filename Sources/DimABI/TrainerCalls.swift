import CDim
import DimModel
import DimRuntime
import DimTraining

/// What the functions of both kinds of trainer share.
protocol TrainerObject: AnyObject {
    var model: Model { get }
    var lock: Lock { get }
    var step: TrainingStep { get }
}

extension Trainer: TrainerObject {}
extension ClassifierTrainer: TrainerObject {}

/// Runs body while no other call uses the trainer.
func withTrainer<T: TrainerObject>(_ handle: OpaquePointer?, _ body: (T) throws -> Void) -> dim_status {
    fallible {
        let trainer: T = try HandleTable.object(handle, "trainer")
        try trainer.lock.whileHeld {
            // A step that a fork cut off has left the trainer between two steps.
            guard !trainer.lock.wasAbandoned else {
                throw DimError(
                    .invalidHandle,
                    "trainer cannot be used here: this process was forked while a call was using it")
            }
            try body(trainer)
        }
    }
}

func stepCount<T: TrainerObject>(_ handle: OpaquePointer?, _ type: T.Type) -> UInt64 {
    guard let trainer = try? HandleTable.object(handle, "trainer", as: T.self) else { return 0 }
    return trainer.lock.whileHeld { UInt64(trainer.step.count) }
}

/// A checkpoint. The model does not change meanwhile.
func save<T: TrainerObject>(
    _ handle: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ write: (T, FilePath) throws -> Void
) -> dim_status {
    withTrainer(handle) { (trainer: T) in
        let path = try filePath(path, "path")
        try trainer.model.whileChanging { try write(trainer, path) }
    }
}

func resume<T: TrainerObject>(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<dim_open_options>?,
    _ out: UnsafeMutablePointer<OpaquePointer?>?, _ read: (FilePath, OpenOptions) throws -> T
) -> dim_status {
    fallible {
        let path = try filePath(path, "path")
        let out = try nonNull(out, "out")
        out.pointee = HandleTable.make(try read(path, OpenOptions.checkpoint(options)))
    }
}

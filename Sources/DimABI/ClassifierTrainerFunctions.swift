import CDim
import DimModel
import DimRuntime
import DimTraining

private let batchNorm = "batch norm has no statistics of one sample"

@_cdecl("dim_classifier_options_init") @implementation
public func dim_classifier_options_init(
    _ options: UnsafeMutablePointer<dim_classifier_options>!, _ struct_size: Int
) -> dim_status {
    fallible {
        try store(ClassifierOptions(), options, struct_size, advice: "compile with this library's dim.h")
    }
}

@_cdecl("dim_classifier_trainer_create") @implementation
public func dim_classifier_trainer_create(
    _ model: OpaquePointer!, _ options: UnsafePointer<dim_classifier_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let out = try nonNull(out, "out")
        let options = try options.map { try $0.pointee.checked() } ?? ClassifierOptions()
        out.pointee = HandleTable.make(try ClassifierTrainer(model, options))
    }
}

@_cdecl("dim_classifier_trainer_free") @implementation
public func dim_classifier_trainer_free(_ trainer: OpaquePointer!) {
    HandleTable.free(trainer, as: ClassifierTrainer.self)
}

@_cdecl("dim_classifier_trainer_step") @implementation
public func dim_classifier_trainer_step(
    _ trainer: OpaquePointer!, _ images: UnsafePointer<Float>!, _ labels: UnsafePointer<Int64>!, _ n: Int,
    _ result: UnsafeMutablePointer<dim_classifier_result>!
) -> dim_status {
    withLabelled(trainer, images, "images", labels, n, result) { try $0.step($1, labels: $2, count: $3) }
}

@_cdecl("dim_classifier_trainer_step_encoded") @implementation
public func dim_classifier_trainer_step_encoded(
    _ trainer: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ labels: UnsafePointer<Int64>!, _ n: Int,
    _ result: UnsafeMutablePointer<dim_classifier_result>!
) -> dim_status {
    withLabelled(trainer, encoded, "encoded", labels, n, result) { try $0.step(encoded: $1, labels: $2, count: $3) }
}

@_cdecl("dim_classifier_trainer_evaluate") @implementation
public func dim_classifier_trainer_evaluate(
    _ trainer: OpaquePointer!, _ images: UnsafePointer<Float>!, _ labels: UnsafePointer<Int64>!, _ n: Int,
    _ result: UnsafeMutablePointer<dim_classifier_result>!, _ confusion: UnsafeMutablePointer<UInt64>!
) -> dim_status {
    withTrainer(trainer) { (trainer: ClassifierTrainer) in
        let images = try nonNull(images, "images")
        let labels = try nonNull(labels, "labels")
        store(try trainer.evaluate(images, labels: labels, count: try imageCount(n), confusion: confusion), result)
    }
}

@_cdecl("dim_classifier_trainer_set_learning_rate") @implementation
public func dim_classifier_trainer_set_learning_rate(_ trainer: OpaquePointer!, _ learning_rate: Double) -> dim_status {
    withTrainer(trainer) { (trainer: ClassifierTrainer) in
        trainer.setLearningRate(try notNegative(learning_rate, "learning_rate"))
    }
}

@_cdecl("dim_classifier_trainer_get_options") @implementation
public func dim_classifier_trainer_get_options(
    _ trainer: OpaquePointer!, _ options: UnsafeMutablePointer<dim_classifier_options>!
) -> dim_status {
    withTrainer(trainer) { (trainer: ClassifierTrainer) in
        try store(trainer.options, options, try nonNull(options, "options").pointee.struct_size)
    }
}

@_cdecl("dim_classifier_trainer_step_count") @implementation
public func dim_classifier_trainer_step_count(_ trainer: OpaquePointer!) -> UInt64 {
    stepCount(trainer, ClassifierTrainer.self)
}

@_cdecl("dim_classifier_trainer_model") @implementation
public func dim_classifier_trainer_model(
    _ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    withTrainer(trainer) { (trainer: ClassifierTrainer) in
        try nonNull(out, "out").pointee = HandleTable.make(trainer.model)
    }
}

@_cdecl("dim_classifier_trainer_save") @implementation
public func dim_classifier_trainer_save(_ trainer: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> dim_status {
    save(trainer, path) { (trainer: ClassifierTrainer, path) in try Checkpoint.save(trainer, path: path) }
}

@_cdecl("dim_classifier_trainer_resume") @implementation
public func dim_classifier_trainer_resume(
    _ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    dim_classifier_trainer_resume_with(path, nil, out)
}

@_cdecl("dim_classifier_trainer_resume_with") @implementation
public func dim_classifier_trainer_resume_with(
    _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<dim_open_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    resume(path, options, out, Checkpoint.resumeClassifierTrainer)
}

private func withLabelled(
    _ trainer: OpaquePointer?, _ rows: UnsafePointer<Float>?, _ name: String, _ labels: UnsafePointer<Int64>?, _ n: Int,
    _ result: UnsafeMutablePointer<dim_classifier_result>?,
    _ step: (ClassifierTrainer, UnsafePointer<Float>, UnsafePointer<Int64>, Int) throws -> ClassifierResult
) -> dim_status {
    withTrainer(trainer) { (trainer: ClassifierTrainer) in
        let rows = try nonNull(rows, name)
        let labels = try nonNull(labels, "labels")
        let n = try imageCount(n, atLeast: 2, because: batchNorm)
        store(try step(trainer, rows, labels, n), result)
    }
}

private func store(
    _ found: ClassifierOptions, _ options: UnsafeMutablePointer<dim_classifier_options>?, _ size: Int,
    advice: String? = nil
) throws {
    let options = try nonNull(options, "options")
    try checkSize(size, MemoryLayout<dim_classifier_options>.size, "dim_classifier_options", advice: advice)
    options.pointee = dim_classifier_options(found)
}

private func store(_ result: ClassifierResult, _ out: UnsafeMutablePointer<dim_classifier_result>?) {
    out?.pointee = dim_classifier_result(loss: result.loss, correct: result.correct, count: result.count)
}

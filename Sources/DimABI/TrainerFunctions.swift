import DimArchitecture
import CDim
import DimModel
import DimRuntime
import DimTraining
import Glibc

private let negatives = "an image's negatives are the other images"

@_cdecl("dim_trainer_options_init") @implementation
public func dim_trainer_options_init(
    _ options: UnsafeMutablePointer<dim_trainer_options>!, _ struct_size: Int
) -> dim_status {
    fallible {
        try store(TrainerOptions(), options, struct_size, advice: "compile with this library's dim.h")
    }
}

@_cdecl("dim_trainer_options_for") @implementation
public func dim_trainer_options_for(
    _ model: OpaquePointer!, _ options: UnsafeMutablePointer<dim_trainer_options>!, _ struct_size: Int
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try store(TrainerOptions(for: model.architecture), options, struct_size)
    }
}

@_cdecl("dim_trainer_create") @implementation
public func dim_trainer_create(
    _ model: OpaquePointer!, _ options: UnsafePointer<dim_trainer_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let out = try nonNull(out, "out")
        let options = try options.map { try $0.pointee.checked() } ?? TrainerOptions(for: model.architecture)
        out.pointee = HandleTable.make(try Trainer(model, options))
    }
}

@_cdecl("dim_trainer_free") @implementation
public func dim_trainer_free(_ trainer: OpaquePointer!) {
    HandleTable.free(trainer, as: Trainer.self)
}

@_cdecl("dim_trainer_step") @implementation
public func dim_trainer_step(
    _ trainer: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int, _ losses: UnsafeMutablePointer<dim_losses>!
) -> dim_status {
    withImages(trainer, images, n, losses, Trainer.step(_:count:))
}

@_cdecl("dim_trainer_accumulate") @implementation
public func dim_trainer_accumulate(
    _ trainer: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int, _ losses: UnsafeMutablePointer<dim_losses>!
) -> dim_status {
    withImages(trainer, images, n, losses, Trainer.accumulate(_:count:))
}

@_cdecl("dim_trainer_skip") @implementation
public func dim_trainer_skip(_ trainer: OpaquePointer!, _ n: Int) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        try trainer.skip(count: try imageCount(n, atLeast: 2, because: negatives))
    }
}

@_cdecl("dim_trainer_drop") @implementation
public func dim_trainer_drop(_ trainer: OpaquePointer!) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in trainer.drop() }
}

@_cdecl("dim_trainer_update") @implementation
public func dim_trainer_update(_ trainer: OpaquePointer!) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in try trainer.update() }
}

@_cdecl("dim_trainer_evaluate") @implementation
public func dim_trainer_evaluate(
    _ trainer: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int, _ losses: UnsafeMutablePointer<dim_losses>!
) -> dim_status {
    withImages(trainer, images, n, losses, Trainer.evaluate(_:count:))
}

@_cdecl("dim_trainer_report") @implementation
public func dim_trainer_report(_ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<dim_report>!) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        let out = try nonNull(out, "out")
        try checkSize(out.pointee.struct_size, MemoryLayout<dim_report>.size, "dim_report")
        let report = try trainer.report()
        func norm(_ network: Network) -> Double { report.gradientNorms[network] ?? .nan }
        var found = dim_report()
        found.struct_size = MemoryLayout<dim_report>.size
        found.step = UInt64(trainer.step.count)
        found.images = report.images
        (found.total, found.local, found.global) = (report.total, report.local, report.global)
        (found.prior, found.coordinates) = (report.prior, report.coordinates)
        found.gradient_penalty = report.gradientPenalty
        (found.local_information, found.global_information) = (report.localInformation, report.globalInformation)
        (found.local_score, found.global_score) = (report.localScore, report.globalScore)
        found.prior_distance = report.priorDistance
        found.gradient_norm = report.gradientNorm
        (found.encoder_norm, found.global_d_norm) = (norm(.encoder), norm(.globalD))
        (found.local_d_norm, found.prior_d_norm) = (norm(.localD), norm(.priorD))
        found.coordinates_d_norm = norm(.coordinatesD)
        out.pointee = found
    }
}

@_cdecl("dim_trainer_get_gradient") @implementation
public func dim_trainer_get_gradient(
    _ trainer: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ out: UnsafeMutableRawPointer!, _ bytes: Int
) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        let name = try string(name, "name")
        guard let out else { throw DimError(.invalidArgument, "out is NULL") }
        guard trainer.step.computed > 0 else {
            throw DimError(
                .invalidArgument, "accumulated gradients: expected some, found none; call dim_trainer_accumulate first")
        }
        let parameters = trainer.model.parameters
        func isTrained(_ spec: ParameterSpec) -> Bool { spec.isTrainable && trainer.networks.contains(spec.network) }
        guard let spec = parameters.place(of: name).map({ parameters.specs[$0] }), isTrained(spec) else {
            let trained = parameters.specs.filter(isTrained)
            let example = trained.first.map { " such as \"\($0.name)\"" } ?? ""
            throw DimError(
                .unknownName,
                "the trainer has no gradient of \"\(printable(name))\"; it trains \(trained.count) parameters\(example)"
            )
        }
        try checkBytes(bytes, spec)
        trainer.step.copyGradient(spec, into: out.assumingMemoryBound(to: Float.self))
    }
}

@_cdecl("dim_trainer_set_gradient_callback") @implementation
public func dim_trainer_set_gradient_callback(
    _ trainer: OpaquePointer!, _ callback: dim_gradient_callback!, _ context: UnsafeMutableRawPointer!
) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        trainer.step.callback = callback.map { callback in { values, count in callback(values, count, context) == 0 } }
    }
}

@_cdecl("dim_trainer_set_learning_rates") @implementation
public func dim_trainer_set_learning_rates(
    _ trainer: OpaquePointer!, _ encoder: Double, _ discriminator: Double
) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        let encoder = try notNegative(encoder, "encoder")
        trainer.setLearningRates(encoder: encoder, discriminator: try notNegative(discriminator, "discriminator"))
    }
}

@_cdecl("dim_trainer_get_options") @implementation
public func dim_trainer_get_options(
    _ trainer: OpaquePointer!, _ options: UnsafeMutablePointer<dim_trainer_options>!
) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        try store(trainer.options, options, try nonNull(options, "options").pointee.struct_size)
    }
}

@_cdecl("dim_trainer_step_count") @implementation
public func dim_trainer_step_count(_ trainer: OpaquePointer!) -> UInt64 {
    stepCount(trainer, Trainer.self)
}

@_cdecl("dim_trainer_model") @implementation
public func dim_trainer_model(_ trainer: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        try nonNull(out, "out").pointee = HandleTable.make(trainer.model)
    }
}

@_cdecl("dim_trainer_save") @implementation
public func dim_trainer_save(_ trainer: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> dim_status {
    save(trainer, path) { (trainer: Trainer, path) in try Checkpoint.save(trainer, path: path) }
}

@_cdecl("dim_trainer_resume") @implementation
public func dim_trainer_resume(_ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!)
    -> dim_status
{
    dim_trainer_resume_with(path, nil, out)
}

@_cdecl("dim_trainer_resume_with") @implementation
public func dim_trainer_resume_with(
    _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<dim_open_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    resume(path, options, out, Checkpoint.resumeTrainer)
}

private func withImages(
    _ trainer: OpaquePointer?, _ images: UnsafePointer<Float>?, _ n: Int, _ losses: UnsafeMutablePointer<dim_losses>?,
    _ call: (Trainer) -> (UnsafePointer<Float>, Int) throws -> ObjectiveLosses
) -> dim_status {
    withTrainer(trainer) { (trainer: Trainer) in
        let images = try nonNull(images, "images")
        let n = try imageCount(n, atLeast: 2, because: negatives)
        store(try call(trainer)(images, n), losses)
    }
}

private func store(
    _ found: TrainerOptions, _ options: UnsafeMutablePointer<dim_trainer_options>?, _ size: Int, advice: String? = nil
) throws {
    let options = try nonNull(options, "options")
    try checkSize(size, MemoryLayout<dim_trainer_options>.size, "dim_trainer_options", advice: advice)
    options.pointee = dim_trainer_options(found)
}

private func store(_ losses: ObjectiveLosses, _ out: UnsafeMutablePointer<dim_losses>?) {
    out?.pointee = dim_losses(total: losses.total, local: losses.local, global: losses.global, prior: losses.prior)
}

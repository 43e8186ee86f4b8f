import CDim
import DimModel
import DimOperators
import DimRuntime
import DimTraining

/// Converts between the C options structs and the Swift ones. A struct's first field is the size its caller was
/// compiled with. The sizes of all versions are accepted, so that the structs can grow at their end.

extension dim_trainer_options {
    init(_ options: TrainerOptions) {
        self.init()
        struct_size = MemoryLayout<dim_trainer_options>.size
        switch options.prior {
        case .none: prior = DIM_PRIOR_NONE
        case .monolithic: prior = DIM_PRIOR_MONOLITHIC
        case .adversarial: prior = DIM_PRIOR_ADVERSARIAL
        }
        measure = dim_measure(rawValue: options.measure.rawValue)
        switch options.negatives {
        case .all: negatives = Int32(DIM_NEGATIVES_ALL)
        case .rotation: negatives = Int32(DIM_NEGATIVES_ROTATION)
        case .drawn(let k): negatives = Int32(k)
        }
        gradient_penalty = options.gradientPenalty
        gradient_clip = options.gradientClip
        coordinates = dim_coordinates(rawValue: options.coordinates.rawValue)
        locations = UInt32(options.locations)
        coordinates_weight = options.coordinatesWeight
        occlusion = options.occlusion ? 1 : 0
        micro_batches = options.microBatches
        precision = options.precision == .mixed ? DIM_PRECISION_MIXED : DIM_PRECISION_FLOAT32
        seed = options.seed
        alpha = options.alpha
        beta = options.beta
        gamma = options.gamma
        encoder_learning_rate = options.encoderLearningRate
        discriminator_learning_rate = options.adam.learningRate
        adam_beta1 = options.adam.beta1
        adam_beta2 = options.adam.beta2
        epsilon = options.adam.epsilon
        weight_decay = options.adam.weightDecay
    }

    func checked() throws -> TrainerOptions {
        try checkSize(struct_size, MemoryLayout<dim_trainer_options>.size, "dim_trainer_options")
        var options = TrainerOptions()
        switch prior {
        case DIM_PRIOR_MONOLITHIC: options.prior = .monolithic
        case DIM_PRIOR_ADVERSARIAL: options.prior = .adversarial
        case DIM_PRIOR_NONE: options.prior = .none
        default:
            throw DimError(
                .invalidArgument,
                "prior is \(prior.rawValue); expected DIM_PRIOR_MONOLITHIC (0), DIM_PRIOR_ADVERSARIAL (1) or "
                    + "DIM_PRIOR_NONE (2)")
        }
        guard let measure = Measure(rawValue: measure.rawValue) else {
            throw DimError(
                .invalidArgument,
                "measure is \(measure.rawValue); expected a dim_measure, 0 to \(Measure.allCases.count - 1)")
        }
        options.measure = measure
        switch negatives {
        case -1: options.negatives = .all
        case 0: options.negatives = .rotation
        case 1...: options.negatives = .drawn(Int(negatives))
        default:
            throw DimError(
                .invalidArgument,
                "negatives is \(negatives); expected DIM_NEGATIVES_ALL (-1), DIM_NEGATIVES_ROTATION (0) or how many to draw"
            )
        }
        options.gradientPenalty = try notNegative(gradient_penalty, "gradient_penalty")
        guard options.gradientPenalty == 0 || options.prior == .adversarial else {
            throw DimError(
                .invalidArgument,
                "gradient_penalty is \(gradient_penalty); expected 0, since the prior is not adversarial (DIM_PRIOR_ADVERSARIAL)"
            )
        }
        options.gradientClip = try notNegative(gradient_clip, "gradient_clip")
        guard let coordinates = Coordinates(rawValue: coordinates.rawValue) else {
            throw DimError(
                .invalidArgument,
                "coordinates is \(coordinates.rawValue); expected DIM_COORDINATES_NONE (0), DIM_COORDINATES_ABSOLUTE (1) or "
                    + "DIM_COORDINATES_RELATIVE (2)")
        }
        options.coordinates = coordinates
        options.coordinatesWeight = try notNegative(coordinates_weight, "coordinates_weight")
        guard (0...1).contains(occlusion) else {
            throw DimError(.invalidArgument, "occlusion is \(occlusion); expected 0 or 1")
        }
        options.occlusion = occlusion == 1
        options.locations = Int(locations)
        guard (1...TrainerOptions.mostMicroBatches).contains(micro_batches) else {
            throw DimError(
                .invalidArgument,
                "micro_batches is \(UInt(bitPattern: micro_batches)); expected 1 to \(TrainerOptions.mostMicroBatches)")
        }
        options.microBatches = micro_batches
        switch precision {
        case DIM_PRECISION_FLOAT32: options.precision = .float32
        case DIM_PRECISION_MIXED: options.precision = .mixed
        default:
            throw DimError(
                .invalidArgument,
                "precision is \(precision.rawValue); expected DIM_PRECISION_FLOAT32 (0) or DIM_PRECISION_MIXED (1)")
        }
        guard options.precision == .float32 || Precision.hasMixed else {
            throw DimError(
                .invalidArgument,
                "precision is mixed (DIM_PRECISION_MIXED), which needs kernels of AVX-512 and a processor with AVX-512 BF16; "
                    + "found \(ComputeBackend.description): expected float32 (DIM_PRECISION_FLOAT32)")
        }
        options.seed = seed
        options.alpha = try notNegative(alpha, "alpha")
        options.beta = try notNegative(beta, "beta")
        options.gamma = try notNegative(gamma, "gamma")
        options.encoderLearningRate = try notNegative(encoder_learning_rate, "encoder_learning_rate")
        options.adam = try adam(
            discriminator_learning_rate, "discriminator_learning_rate", adam_beta1, adam_beta2, epsilon, weight_decay)
        return options
    }
}

extension dim_classifier_options {
    init(_ options: ClassifierOptions) {
        self.init()
        struct_size = MemoryLayout<dim_classifier_options>.size
        switch options.encoder {
        case .frozen: encoder = DIM_ENCODER_FROZEN
        case .frozenBatchStatistics: encoder = DIM_ENCODER_FROZEN_BATCH_STATISTICS
        case .trained: encoder = DIM_ENCODER_TRAINED
        }
        loss = options.loss == .logits ? DIM_LOSS_LOGITS : DIM_LOSS_SOFTMAX_TWICE
        learning_rate = options.adam.learningRate
        adam_beta1 = options.adam.beta1
        adam_beta2 = options.adam.beta2
        epsilon = options.adam.epsilon
        weight_decay = options.adam.weightDecay
    }

    func checked() throws -> ClassifierOptions {
        try checkSize(struct_size, MemoryLayout<dim_classifier_options>.size, "dim_classifier_options")
        var options = ClassifierOptions()
        switch encoder {
        case DIM_ENCODER_FROZEN: options.encoder = .frozen
        case DIM_ENCODER_FROZEN_BATCH_STATISTICS: options.encoder = .frozenBatchStatistics
        case DIM_ENCODER_TRAINED: options.encoder = .trained
        default: throw DimError(.invalidArgument, "encoder is \(encoder.rawValue); expected a dim_encoder_use, 0 to 2")
        }
        switch loss {
        case DIM_LOSS_LOGITS: options.loss = .logits
        case DIM_LOSS_SOFTMAX_TWICE: options.loss = .softmaxTwice
        default: throw DimError(.invalidArgument, "loss is \(loss.rawValue); expected a dim_classifier_loss, 0 or 1")
        }
        options.adam = try adam(learning_rate, "learning_rate", adam_beta1, adam_beta2, epsilon, weight_decay)
        return options
    }
}

func notNegative(_ value: Double, _ name: String) throws -> Double {
    guard value.isFinite, value >= 0 else {
        throw DimError(.invalidArgument, "\(name) is \(value); expected a finite value of 0 or more")
    }
    return value
}

private func adam(
    _ rate: Double, _ rateName: String, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double
) throws -> AdamOptions {
    var options = AdamOptions()
    options.learningRate = try notNegative(rate, rateName)
    options.beta1 = try fraction(beta1, "adam_beta1")
    options.beta2 = try fraction(beta2, "adam_beta2")
    options.epsilon = try notNegative(epsilon, "epsilon")
    options.weightDecay = try notNegative(decay, "weight_decay")
    return options
}

private func fraction(_ value: Double, _ name: String) throws -> Double {
    guard value >= 0, value < 1 else {
        throw DimError(.invalidArgument, "\(name) is \(value); expected 0 or more and less than 1")
    }
    return value
}

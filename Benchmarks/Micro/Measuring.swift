import Benchmark
import CCounts

/// Every count is of so many operations.
private let operationsCounted = 1_000
/// Few, so that most are timed without an interruption.
private let operationsTimed = 200

extension BenchmarkMetric {
    /// Of a thousand operations.
    static var allocations: Self { .custom("allocations", polarity: .prefersSmaller, useScalingFactor: false) }
    /// Of a thousand operations.
    static var retains: Self { .custom("retains", polarity: .prefersSmaller, useScalingFactor: false) }
    /// Nanoseconds that an operation would take on a machine where a round of `Reference` takes a thousand of them.
    static var referenceTime: Self { .custom("referenceTime", polarity: .prefersSmaller, useScalingFactor: false) }
}

/// Registers a benchmark. `prepare` makes what is worked on and gives the work, which is to do so many operations and
/// to return what is expected: a benchmark of something that does not happen is none.
func measure(_ name: String, operations: Int = 1, expecting expected: Int, _ prepare: @escaping () -> () -> Int) {
    precondition(operationsTimed.isMultiple(of: operations), "\(name): \(operations) operations at a time")
    Benchmark(
        name,
        configuration: .init(
            metrics: [.allocations, .retains, .referenceTime],
            warmupIterations: 0,
            maxDuration: .seconds(60),
            maxIterations: 1
        )
    ) { benchmark in
        let work = prepare()
        let run = { (count: Int) in
            for _ in 0..<count / operations {
                let result = work()
                guard result == expected else { fatalError("\(name): \(result) came out, \(expected) was expected") }
            }
        }
        // What grows has grown before anything is counted.
        run(operationsCounted)
        let before = counts_now()
        run(operationsCounted)
        let after = counts_now()
        benchmark.measurement(.allocations, Int(after.allocations - before.allocations))
        benchmark.measurement(.retains, Int(after.retains - before.retains))
        let time = Reference().time { run(operationsTimed) }
        benchmark.measurement(.referenceTime, time / operationsTimed)
    }
}

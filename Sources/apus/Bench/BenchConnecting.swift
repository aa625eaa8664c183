import MQTT
import Synchronization

/// `apus bench conn`: how fast clients connect. They stay until all have.
struct BenchConnecting: Sendable {
    /// So many failures before the first success, and no more are tried.
    private static let failuresMax = 3

    private let settings: BenchSettings
    private let tool: Tool
    private let latency = Shared()

    private final class Shared: Sendable {
        let histogram = Mutex(BenchLatency())
        let connected = Atomic(0)
        let failures = Mutex<[MQTTError]>([])
    }

    init(_ settings: BenchSettings, _ tool: Tool) {
        self.settings = settings
        self.tool = tool
    }

    func run() async throws -> BenchResult {
        let total = settings.command.clients
        let progress = BenchProgress(quiet: tool.options.quiet)
        let began = ContinuousClock.now
        var pace = BenchPace(settings)
        var clients: [BenchClient] = []
        var started = 0
        try await withThrowingTaskGroup(of: BenchClient?.self) { tasks in
            while true {
                let isHopeless = clients.isEmpty && failed >= min(Self.failuresMax, total)
                if isHopeless { tasks.cancelAll() }
                let underWay = started - clients.count - failed
                if started < total, underWay < settings.command.window, !isHopeless, !Task.isCancelled {
                    // Cancelled, it starts none any more, and waits for those under way.
                    guard let due = try? await pace.next() else { continue }
                    let configuration = try settings.command.connection.configuration(number: started)
                    tasks.addTask { await connect(configuration, due) }
                    started += 1
                } else {
                    guard let client = try await tasks.next() else { break }
                    if let client { clients.append(client) }
                }
                progress.show(began, sent: clients.count, received: 0, of: "connected")
            }
        }
        progress.clear()
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        if clients.isEmpty, let error = latency.failures.withLock({ $0.first }) { throw error }
        var result = BenchResult(settings, seconds: seconds)
        result.connected = clients.count
        result.failed = failed
        result.latency = latency.histogram.withLock { $0 }
        result.settle()
        if let error = latency.failures.withLock({ $0.first }) { tool.note("The first failure: \(error).") }
        _ = await clients.end()
        return result
    }

    private var failed: Int { latency.failures.withLock { $0.count } }

    private func connect(_ configuration: MQTTClient.Configuration, _ due: UInt64) async -> BenchClient? {
        do {
            let client = try await BenchClient(configuration)
            latency.histogram.withLock { $0.record(nanoseconds: max(BenchPayload.now, due) - due) }
            return client
        } catch {
            latency.failures.withLock { $0.append(error as? MQTTError ?? .connectFailed("\(error)")) }
            return nil
        }
    }
}

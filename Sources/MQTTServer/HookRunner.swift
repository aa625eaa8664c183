import Logging
import MQTTCore
import MQTTPackets

/// Calls hooks, each within its time, and turns what goes wrong into a line in the log and a refusal.
final class HookRunner: Sendable {
    let hooks: BrokerHooks
    let limits: Limits
    private let timeout: Duration
    private let logger: Logger

    private struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    init(_ hooks: BrokerHooks, limits: Limits, _ configuration: BrokerConfiguration, _ logger: Logger) {
        self.hooks = hooks
        self.limits = limits
        timeout = configuration.hookTimeout
        self.logger = configuration.logger(.hooks, logger)
    }

    /// What an asynchronous hook says.
    enum Outcome<Value: Sendable>: Sendable {
        case value(Value)
        case failed
        case timedOut
    }

    /// A hook that does not come back is left behind, cancelled; so is one whose client has gone.
    func call<Value: Sendable>(
        _ hook: String,
        for client: ClientInfo,
        _ body: @escaping @Sendable () async throws -> Value
    ) async -> Outcome<Value> {
        guard !Task.isCancelled else { return .failed }
        let (results, continuation) = AsyncStream.makeStream(of: Outcome<Value>.self)
        let work = Task { [self] in
            do {
                continuation.yield(.value(try await body()))
            } catch {
                if !Task.isCancelled { log(hook, client, "\(error)") }
                continuation.yield(.failed)
            }
        }
        let timer = Task { [timeout] in
            do {
                try await Task.sleep(for: timeout)
                continuation.yield(.timedOut)
            } catch {
                return  // It was in time.
            }
        }
        defer {
            work.cancel()
            timer.cancel()
        }
        for await result in results {
            if case .timedOut = result { log(hook, client, "no answer within \(timeout)") }
            return result
        }
        return .failed
    }

    func log(_ hook: String, _ client: ClientInfo, _ reason: String) {
        logger.warning(
            "a hook failed, which refuses what it was asked",
            metadata: [
                "hook": "\(hook)", "client": "\(LogText.printable(client.id))", "address": "\(client.address)",
                "reason": "\(LogText.printable(reason))",
            ]
        )
    }

    /// A reason that the packet can carry.
    static func reason(_ reason: ReasonCode, in kind: PacketKind) -> ReasonCode {
        reason.isError && reason.isAllowed(in: kind) ? reason : .notAuthorized
    }
}

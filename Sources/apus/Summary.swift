import Logging
import MQTTCore
import MQTTServer
import ServiceLifecycle
import UnixSignals

/// Prints how the broker is doing, on each SIGUSR1.
struct SummaryPrinter: Service {
    let broker: MQTTBroker

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in await UnixSignalsSequence(trapping: .sigusr1) {
                // It throws where this task is cancelled, and nothing else: that is the end.
                guard let topics = try? await broker.busiestTopics() else { return }
                StandardError.print(Self.text(broker.statistics, broker.largestQueues(5), topics))
            }
        }
    }

    static func text(_ now: Statistics, _ queues: [SessionQueue], _ topics: [TopicRate]) -> String {
        let turns = max(1, now.turns)
        var lines = [
            "apus \(MQTTBroker.version), up for \(now.uptime / 1_000) s",
            "clients     \(now.clientsConnected) connected, \(now.clientsDisconnected) disconnected, \(now.clientsMaximum) at most, \(now.sessionsExpired) expired",
            "connections \(now.connections) open, \(now.sockets) accepted, \(now.socketsRefused) turned away",
            "received    \(now.publishReceived) messages, \(now.publishBytesReceived) bytes of payload, \(now.publishRefused) refused",
            "sent        \(now.publishSent) messages, \(now.publishBytesSent) bytes of payload",
            "queues      \(now.copiesUnfinished) copies, \(now.queuedBytes) bytes; unsent \(now.unsentPackets) packets, \(now.unsentBytes) bytes",
            "retained    \(now.retainedMessages) messages, \(now.retainedBytes) bytes",
            "subscribed  \(now.subscriptions) filters, \(now.sharedSubscriptions) of them shared, \(now.treeNodes) nodes",
            "lock        \(now.turns) turns of \(now.turnNanoseconds / turns) ns, longest \(now.turnNanosecondsMaximum / 1_000) µs, \(now.turnsContended) waited",
            "timers      \(now.timers)",
        ]
        let drops = DropCause.allCases.filter { now.dropped[$0] > 0 }.map { "\(now.dropped[$0]) \($0.name)" }
        lines.append("dropped     " + (drops.isEmpty ? "0" : drops.joined(separator: ", ")))
        lines += queues.map { queue in
            "queue       \(queue.messages) messages, \(queue.bytes) bytes, \(queue.dropped.total) dropped  "
                + "\(queue.clientID.debugDescription)\(queue.isConnected ? "" : " (offline)")"
        }
        lines += topics.map { topic in
            "topic       \(Int(topic.messagesPerSecond.rounded())) messages/s  \(topic.topic.debugDescription)"
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

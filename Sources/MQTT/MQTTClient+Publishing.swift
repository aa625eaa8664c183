import MQTTPackets
import NIOCore

extension MQTTClient {
    /// Publishes a message, and returns when the guarantee of its QoS holds (section 4.3): at QoS 0 once it is on its
    /// way out, at QoS 1 when the server has acknowledged it, at QoS 2 when the server has it exactly once.
    ///
    /// Without a connection it waits for one, in the queue of the configuration. Where the task is cancelled, a message
    /// that was not sent is taken back; one that was may arrive still.
    ///
    /// - Parameters:
    ///   - properties: those of PUBLISH in 5.0 (section 3.3.2.3); left out before.
    /// - Returns: the server's code: success, or that nobody has subscribed.
    /// - Throws: `publishRefused` where the server does not take the message, `invalidArgument` where it is none, and
    ///   what the queue's policy says.
    @discardableResult
    public func publish(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> ReasonCode {
        let publish = try checked(payload, topic, qos, retain, properties)
        guard qos == .atMostOnce else { return try await publishAcknowledged(publish) }
        let publication = Publication(id: .none, publish: publish, waiter: nil)
        while true {
            switch outbox.offer(publication, canWait: true) {
            case .accepted: return .success
            case .refused(let error): throw error
            case .full: await outbox.waitForRoom()
            }
            if Task.isCancelled { throw .cancelled }
        }
    }

    /// The same for text.
    @discardableResult
    public func publish(
        _ payload: String,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> ReasonCode {
        try await publish(ByteBuffer(string: payload), to: topic, qos: qos, retain: retain, properties: properties)
    }

    /// Takes a message without waiting for anything: `events` tell what becomes of it. Throws where the queue is full.
    @discardableResult
    public func enqueue(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) throws(MQTTError) -> PublishID {
        let publish = try checked(payload, topic, qos, retain, properties)
        let id = outbox.nextID()
        switch outbox.offer(Publication(id: id, publish: publish, waiter: nil), canWait: false) {
        case .accepted: return id
        case .refused(let error): throw error
        case .full: throw .queueFull
        }
    }

    /// Takes an enqueued message back, where it was not sent yet: `Event.publishFailed` tells so.
    public func removePublish(_ id: PublishID) {
        let wasWaiting = outbox.cancel(id, because: .removed)
        if wasWaiting { status.emit(.publishFailed(id, .removed)) }
    }

    /// Returns once all messages that were given before have reached the guarantee of their QoS, or have failed.
    public func flush() async throws(MQTTError) {
        let id = outbox.nextID().value
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { waiter in
                outbox.perform { $0.flush(id, waiter) }
                if Task.isCancelled { outbox.perform { $0.cancelFlush(id) } }
            }
        } onCancel: {
            outbox.perform { $0.cancelFlush(id) }
        }
        try result.get()
    }

    private func checked(
        _ payload: ByteBuffer,
        _ topic: String,
        _ qos: QoS,
        _ retain: Bool,
        _ properties: Properties
    ) throws(MQTTError) -> Publish {
        let publish = Publish(topic: topic, payload: payload, qos: qos, isRetained: retain, properties: properties)
        do { try publish.check() } catch { throw .invalidArgument(error.explanation) }
        return publish
    }

    private func publishAcknowledged(_ publish: Publish) async throws(MQTTError) -> ReasonCode {
        let id = outbox.nextID()
        while true {
            let result = await withTaskCancellationHandler {
                await withCheckedContinuation(isolation: nil) { waiter in offer(publish, id, waiter) }
            } onCancel: {
                outbox.cancel(id, because: .cancelled)
            }
            switch result {
            case .success(let reasonCode): return reasonCode
            case .failure(.queueFull) where configuration.queue.policy == .wait:
                await outbox.waitForRoom()
                if Task.isCancelled { throw .cancelled }
            case .failure(let error): throw error
            }
        }
    }

    private func offer(_ publish: Publish, _ id: PublishID, _ waiter: Publication.Waiter) {
        let canWait = configuration.queue.policy == .wait
        switch outbox.offer(Publication(id: id, publish: publish, waiter: waiter), canWait: canWait) {
        case .accepted: if Task.isCancelled { outbox.cancel(id, because: .cancelled) }
        case .refused(let error): waiter.resume(returning: .failure(error))
        case .full: waiter.resume(returning: .failure(.queueFull))
        }
    }
}

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
    ///   - payload: of any content; the packet is no larger than the server takes.
    ///   - topic: a topic name without wildcards (section 4.7).
    ///   - qos: no higher than the server's Maximum QoS.
    ///   - retain: whether it becomes the topic's retained message; an empty payload clears that (section 3.3.1.3).
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
        guard qos == .atMostOnce else {
            return try await publishAwaiting(publish, outbox.nextID(), store: false)
        }
        let publication = Publication(id: .none, publish: publish, waiter: nil)
        while true {
            switch outbox.offer(publication, canWait: true) {
            case .accepted: return .success
            case .refused(let error): throw error
            case .full: await outbox.waitForRoom(qos)
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

    /// Hands a message over: with a store, returns once that has it, and then it is published whatever happens to the
    /// program; without one, at once. `events` tell what becomes of it.
    ///
    /// - Throws: what the queue's policy says; at QoS 1 and 2 what may happen to a message before it is stored. After
    ///   `closed` the store may have it all the same: the client ended before it could tell.
    @discardableResult
    public func enqueue(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> PublishID {
        let publish = try checked(payload, topic, qos, retain, properties)
        let id = outbox.nextID()
        if qos != .atMostOnce && settings.isDurable {
            _ = try await publishAwaiting(publish, id, store: true)
            return id
        }
        while true {
            switch outbox.offer(Publication(id: id, publish: publish, waiter: nil), canWait: true) {
            case .accepted: return id
            case .refused(let error): throw error
            case .full: await outbox.waitForRoom(qos)
            }
            if Task.isCancelled { throw .cancelled }
        }
    }

    /// The same for code that cannot wait. Throws where the queue is full; what is returned says nothing of a store.
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

    /// Returns when the guarantee of the QoS holds, or once the message is stored.
    private func publishAwaiting(
        _ publish: Publish,
        _ id: PublishID,
        store: Bool
    ) async throws(MQTTError) -> ReasonCode {
        while true {
            let result = await withTaskCancellationHandler {
                await withCheckedContinuation(isolation: nil) {
                    (continuation: CheckedContinuation<Result<ReasonCode, MQTTError>, Never>) in
                    let waiter = WaitingTask(continuation)
                    offer(Publication(id: id, publish: publish, waiter: waiter, awaitsStore: store), waiter)
                }
            } onCancel: {
                outbox.cancel(id, because: .cancelled)
            }
            switch result {
            case .success(let reasonCode): return reasonCode
            case .failure(.queueFull) where configuration.queue.policy == .wait:
                await outbox.waitForRoom(publish.qos)
                if Task.isCancelled { throw .cancelled }
            case .failure(let error): throw error
            }
        }
    }

    private func offer(_ publication: Publication, _ waiter: Publication.Waiter) {
        let canWait = configuration.queue.policy == .wait
        switch outbox.offer(publication, canWait: canWait) {
        case .accepted: if Task.isCancelled { outbox.cancel(publication.id, because: .cancelled) }
        case .refused(let error): waiter.resume(returning: .failure(error))
        case .full: waiter.resume(returning: .failure(.queueFull))
        }
    }
}

"""Sentences with their language, written for the project: what `text.steps.language` must tell apart."""

CASES = {
    "zh": """
今天早上我在公园里看见一只松鼠。
这本书讲的是一个渔夫和他儿子的故事。
请把窗户关上，外面下雨了。
昨夜的雨把院子里的花都打落了。
他每天坐地铁上班，路上要花四十分钟。
數學老師在黑板上寫下一個很長的公式。
火車晚點了兩個小時，我們只好在車站等。
如果明天天氣好，我們就去爬山。
春风又绿江南岸，明月何时照我还。
学而时习之，不亦说乎？
大漠孤烟直，长河落日圆。
臣本布衣，躬耕于南阳。
本公司将于下月推出新款手机，售价2999元。
模型在验证集上的困惑度从35下降到28。
请用 Python 写一个函数，返回列表中的最大值。
我的微信号变了，请加新的。
北京时间晚上八点，比赛正式开始。
这家饭馆的红烧肉做得特别好吃，不过要排队。
关于进一步加强校园安全工作的通知
妈妈说：“早点睡觉，明天还要上学。”
""",
    "en": """
I saw a squirrel in the park this morning.
The book tells the story of a fisherman and his son.
Please close the window; it has begun to rain.
All night the wind shook the old house by the sea.
She takes the train to work, which is forty minutes each way.
The teacher wrote a very long formula on the blackboard.
If the weather holds tomorrow, we shall climb the hill.
Shall I compare thee to a summer's day?
It was the best of times, it was the worst of times.
Thou art more lovely and more temperate.
Our new phone will be on sale next month for 299 dollars.
Perplexity on the validation set fell from 35 to 28.
Write a function that returns the largest element of a list.
He said he would call back, but he never did.
The restaurant on the corner makes an excellent stew.
Notice to all students about safety in the laboratory
Mother said, "Go to bed early, you have school tomorrow."
Water boils at a lower temperature on top of a mountain.
They walked along the river until it was too dark to see.
The committee will meet again on the third of March.
""",
    "ja": """
今朝、公園でリスを見かけました。
この本は漁師とその息子の物語です。
窓を閉めてください、雨が降り始めました。
電車が二時間遅れたので、駅で待っていました。
明日天気が良ければ山に登りましょう。
先生は黒板に長い数式を書きました。
このレストランの料理はとてもおいしいです。
新しい電話は来月発売されます。
""",
    "ko": """
오늘 아침 공원에서 다람쥐를 보았습니다.
이 책은 어부와 그의 아들의 이야기입니다.
창문을 닫아 주세요, 비가 오기 시작했어요.
기차가 두 시간 늦어서 역에서 기다렸습니다.
내일 날씨가 좋으면 산에 올라갑시다.
선생님이 칠판에 긴 공식을 썼습니다.
""",
    "fr": """
Ce matin, j'ai vu un écureuil dans le parc.
Ce livre raconte l'histoire d'un pêcheur et de son fils.
Fermez la fenêtre, s'il vous plaît, il commence à pleuvoir.
Le train avait deux heures de retard et nous avons attendu.
S'il fait beau demain, nous monterons sur la colline.
Le professeur a écrit une longue formule au tableau.
""",
    "de": """
Heute Morgen habe ich im Park ein Eichhörnchen gesehen.
Das Buch erzählt die Geschichte eines Fischers und seines Sohnes.
Bitte schließen Sie das Fenster, es fängt an zu regnen.
Der Zug hatte zwei Stunden Verspätung, also warteten wir.
Wenn das Wetter morgen hält, steigen wir auf den Berg.
Der Lehrer schrieb eine sehr lange Formel an die Tafel.
""",
    "es": """
Esta mañana vi una ardilla en el parque.
El libro cuenta la historia de un pescador y su hijo.
Cierre la ventana, por favor, que ha empezado a llover.
El tren llegó con dos horas de retraso y tuvimos que esperar.
Si mañana hace buen tiempo, subiremos a la montaña.
El profesor escribió una fórmula muy larga en la pizarra.
""",
    "ru": """
Сегодня утром я видел в парке белку.
Книга рассказывает о рыбаке и его сыне.
Закройте, пожалуйста, окно, начался дождь.
Поезд опоздал на два часа, и мы ждали на вокзале.
Если завтра будет хорошая погода, мы поднимемся на гору.
Учитель написал на доске очень длинную формулу.
""",
}


def cases() -> list[tuple[str, str]]:
    """Return (language, sentence)."""
    return [(name, line) for name, text in CASES.items() for line in text.strip().splitlines()]

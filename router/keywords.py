"""Words that indicate the kind and the length of a task, by group.

`router.features` counts them. Changing a group changes the meaning of a feature: raise
FEATURES_VERSION there.
"""

ENGLISH: dict[str, str] = {
    "gain": "buy buys bought find finds found win wins won get gets got receive receives received "
    "earn earns earned add adds added more arrive arrives gives gave collect collects collected "
    "adds gained increase increases increased",
    "lose": "lose loses lost sell sells sold spend spends spent eat eats ate break breaks broke "
    "lend lends remove removes removed less fewer left remain remains remaining away used pays "
    "decrease decreases decreased",
    "scale": "double doubles doubled twice triple triples tripled thrice half halves third quarter "
    "times percent percentage ratio rate discount interest",
    "each": "each every per apiece both",
    "total": "total altogether sum difference average mean median product combined overall",
    "proof": "prove proof theorem lemma derive justify rigorous contradiction induction proves",
    "algebra": "polynomial polynomials equation equations solve roots root matrix integer integers "
    "complex prime primes divisible modulo remainder divisor divisors factor factors sequence "
    "coefficient logarithm integral derivative limit satisfies positive",
    "geometry": "triangle circle angle area radius perimeter polygon tangent sphere rectangle "
    "square cube inscribed chord parallel perpendicular volume coordinate midpoint",
    "chance": "probability ways arrangements permutations combinations dice random randomly choose "
    "expected distinct subsets subset coin",
    "code": "code python java javascript function def return implement algorithm class bug array "
    "string sql loop debug compile program script method variable api html css rust",
    "logic": "if then not either neither implies true false only unless except must cannot none "
    "all some always never",
    "order": "before after first second last next between left right above below older younger",
    "explain": "explain why how compare describe discuss analyze evaluate difference because",
    "write": "write story poem email essay letter draft translate rewrite summarize summary blog "
    "song joke paragraph edit",
    "chat": "hi hello hey thanks thank please sorry you your tell help okay",
    "recall": "who whom when where which what whose name named called year",
    "constrain": "exactly least most maximum minimum smallest largest greatest fewest optimal "
    "shortest longest minimize maximize",
    "quiz": "options option choices choice following answer correct statement statements "
    "choose select",
}

CHINESE: dict[str, str] = {
    "gain": "买 得到 增加 收到 又来 加上",
    "lose": "卖 减少 还剩 剩下 花了 吃了 用去 减去",
    "scale": "倍 百分 分之 一半 比例 折",
    "each": "每 各",
    "total": "一共 总共 共有 平均 之和 之差",
    "proof": "证明 推导 求证",
    "algebra": "方程 多项式 整数 质数 素数 余数 数列 求解 函数 导数 积分",
    "geometry": "三角形 圆 角 面积 半径 周长 体积 矩形",
    "chance": "概率 排列 组合 随机 骰子",
    "code": "代码 程序 算法 编程 实现 数组 字符串",
    "logic": "如果 那么 不是 要么 除非 必须 所有",
    "order": "之前 之后 第一 最后 左边 右边",
    "explain": "解释 为什么 比较 分析 说明",
    "write": "写 翻译 作文 故事 邮件 总结",
    "chat": "你好 谢谢 请 帮我",
    "recall": "谁 什么 哪 何时 多少",
    "constrain": "至少 至多 最大 最小 恰好",
    "quiz": "选项 下列 选择 正确",
}

GROUPS: tuple[str, ...] = tuple(ENGLISH)

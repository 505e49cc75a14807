{# At the end of a run: warns of events that an audience names and no message has. `did('Order Complted')` is true for
   nobody, and `did_not` of it for everybody. `vars: revetl: event_names: off` turns it off. #}
{% macro check_event_names(results) %}
    {% set severity = var('event_names', 'warn') %}
    {% if severity not in ['warn', 'off', false] %}
        {% do exceptions.raise_compiler_error("vars.revetl.event_names is '" ~ severity ~ "'; it must be warn or off.") %}
    {% endif %}
    {% if severity != 'warn' or not execute or flags.EMPTY or flags.WHICH not in ['build', 'run'] or var('identity_preview', false) %}
        {{ return('') }}
    {% endif %}
    {% set asked = {} %}
    {% for result in results
        if result.node.resource_type == 'model' and result.status == 'success' and result.node.package_name != 'revetl' %}
        {% for use in revetl.named_events(result.node.compiled_code or '') %}
            {% do asked.setdefault(use.relation, {}).setdefault(use.column, []).append({'model': result.node.name, 'name': use.name}) %}
        {% endfor %}
    {% endfor %}
    {% for relation, columns in asked.items() %}
        {% for column, uses in columns.items() %}
            {% do revetl.warn_of_unseen(relation, column, uses) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}

{# The events that the conditions in a compiled model name: the relation of messages, its column, and the name. #}
{% macro named_events(code) %}
    {% set found = [] %}
    {% set parts = code.split(' as stored') %}
    {% for part in parts[1:] %}
        {% set relation = parts[loop.index0].split() | last %}
        {% set listed = modules.re.search("stored\\.(event_text|name) in \\(((?:\\s*N?'(?:[^']|'')*',?)+)\\s*\\)", part) %}
        {% if listed %}
            {% for literal in modules.re.findall("'((?:[^']|'')*)'", listed[2]) %}
                {% do found.append({'relation': relation, 'column': listed[1], 'name': literal | replace("''", "'")}) %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{% macro warn_of_unseen(relation, column, uses) %}
    {% set names = [] %}
    {% for use in uses %}
        {% do names.append(revetl.text_literal(use.name)) %}
    {% endfor %}
    {% set seen = run_query('select ' ~ column ~ ' from ' ~ relation ~ ' where ' ~ column ~ ' in ('
        ~ names | unique | join(', ') ~ ') group by ' ~ column).columns[0].values() | list %}
    {% set unseen = [] %}
    {% for use in uses if use.name not in seen %}
        {% do unseen.append(use) %}
    {% endfor %}
    {% if unseen %}
        {% set every = run_query('select ' ~ column ~ ' from ' ~ relation ~ ' where ' ~ column ~ ' is not null group by ' ~ column
            ~ ' order by count(*) desc').columns[0].values() | list %}
        {# Where no message has come yet, no name is wrong. #}
        {% set told = [] %}
        {% for use in unseen if every %}
            {% set sentence = use.model ~ ": no message has the name '" ~ use.name ~ "'." ~ revetl.nearest_name(use.name, every) %}
            {% if sentence not in told %}
                {% do told.append(sentence) %}
                {% do exceptions.warn(sentence) %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{# The name that has most pairs of letters in common with another one, as a question; nothing where none has half of them. #}
{% macro nearest_name(name, names) %}
    {% set best = namespace(name=none, score=0.5) %}
    {% set own = revetl.letter_pairs(name) %}
    {% for each in names[:1000] %}
        {% set pairs = revetl.letter_pairs(each) %}
        {% set common = own | select('in', pairs) | list | length %}
        {% set score = 2 * common / ([own | length + pairs | length, 1] | max) %}
        {% if score > best.score %}
            {% set best.name, best.score = each, score %}
        {% endif %}
    {% endfor %}
    {{ return(" Did you mean '" ~ best.name ~ "'?" if best.name is not none else '') }}
{% endmacro %}

{% macro letter_pairs(text) %}
    {% set letters = text | lower %}
    {% set pairs = [] %}
    {% for at in range(letters | length - 1) %}
        {% do pairs.append(letters[at:at + 2]) %}
    {% endfor %}
    {{ return(pairs | unique | list) }}
{% endmacro %}

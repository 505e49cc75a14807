{# A step: the events that count, and the conditions they meet. `where` is as traits have it, or a text, whose
   `properties.total` and `context.campaign.name` are read out of the messages. #}
{% macro done_step(at, event, where) %}
    {% set own = {'event': event, 'where': none if where is string else where} %}
    {% set step = revetl.trait_events_of(at, own) %}
    {% do step.update({'sql': none, 'places': step.conditions | map(attribute='place') | list}) %}
    {% if where is string %}
        {% do step.update(revetl.where_text(at, where)) %}
    {% endif %}
    {% set arrays = step.places | selectattr('element') | map(attribute='name') | unique | list %}
    {% if arrays | length > 1 %}
        {% do revetl.wrong_trait(at ~ ': where', 'names elements of two arrays; it can of one') %}
    {% endif %}
    {% do step.update({'array': arrays[0] if arrays else none}) %}
    {{ return(step) }}
{% endmacro %}

{# A condition in SQL: its text with columns in the place of paths, and those. A path is read as a number where it is
   compared with one, as a double where it is reckoned with, so that nothing overflows, and as a text anywhere else. #}
{% macro where_text(at, text) %}
    {# The first literal or path of a text, between what is before and after it. (dbt v2 has no re.finditer.) #}
    {% set token = "(?s)(.*?)('(?:[^']|'')*'|\\b(properties|context)\\.([A-Za-z_$][\\w$]*(?:\\.[A-Za-z_$][\\w$]*)*))(.*)" %}
    {% set number_after = "\\s*(?:(?:=|<>|!=|<=|>=|<|>)\\s*-?[0-9.]|(?:not\\s+)?(?:between|in\\s*\\()\\s*-?[0-9.])" %}
    {% set number_before = "(?s).*[0-9]\\s*(?:=|<>|!=|<=|>=|<|>)\\s*" %}
    {% set found = namespace(sql='', before='', rest=text, token=modules.re.fullmatch(token, text)) %}
    {% set places = [] %}
    {% for _ in range(text | length) %}
        {% if found.token %}
            {% set before, whole, document, path, after = found.before ~ found.token[1], found.token[2], found.token[3], found.token[4], found.token[5] %}
            {% if document %}
                {% set is_reckoned = modules.re.match('\\s*[-+*/]', after) or modules.re.fullmatch('(?s).*[-+*/]\\s*', before) %}
                {% set is_number = is_reckoned or modules.re.match('(?i)' ~ number_after, after)
                    or modules.re.fullmatch(number_before, before) %}
                {% set key = 'property' if document == 'properties' else 'context' %}
                {% set place = revetl.trait_place(at ~ ': where', {key: path}, 'number' if is_number else 'text') %}
                {% do places.append(place) %}
                {% set column = 'messages.' ~ place.name %}
                {% set found.sql = found.sql ~ before ~ ('cast(' ~ column ~ ' as ' ~ revetl.type_of('double') ~ ')' if is_reckoned else column) %}
                {% set found.before = '' %}
            {% else %}
                {% set found.before = before ~ whole %}
            {% endif %}
            {% set found.rest = after %}
            {% set found.token = modules.re.fullmatch(token, after) %}
        {% endif %}
    {% endfor %}
    {{ return({'sql': found.sql ~ found.before ~ found.rest, 'places': places}) }}
{% endmacro %}

{# The events of one or more steps, as a query: canonical_id, message_id, timestamp, and step_1 …, which are 1 where the
   event is one of the step. #}
{% macro done_events(steps, within, source) -%}
    {% if source not in ['track', 'page', 'screen'] -%}
        {% do revetl.wrong_trait('did: source', "is '" ~ source ~ "'; it must be track, page or screen") -%}
    {% endif -%}
    {% set window = revetl.trait_window('did: within', {'last': within} if within is string else within) -%}
    {% set messages = {'track': 'stg_revetl__tracks', 'page': 'stg_revetl__pages', 'screen': 'stg_revetl__screens'} -%}
    {% set names = [] -%}
    {% for step in steps -%}
        {% do names.append(step.events) -%}
    {% endfor -%}
    {% set asked = none if none in names else names | sum(start=[]) | unique | list -%}
    select
        events.canonical_id,
        events.message_id,
        events.timestamp,
        {%- for step in steps %}
        messages.step_{{ loop.index }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('revetl', 'revetl_events') }} as events
    inner join (
        {{ revetl.steps_of_messages(steps, ref('revetl', messages[source]), source, asked, window) }}
    ) as messages
        on events.message_id = messages.message_id
    where
        events.source = '{{ source }}'
        {%- for condition in revetl.window_sql(window, 'events.timestamp') %}
        and {{ condition }}
        {%- endfor %}
{%- endmacro %}

{# The messages with what steps they are. Of an array, any element will do. #}
{% macro steps_of_messages(steps, stored, source, asked, window) -%}
    {% set plain, elements, documents = {}, {}, {} -%}
    {% for step in steps -%}
        {% for place in step.places -%}
            {% if place.element -%}
                {% do elements.setdefault(place.name, {'place': place, 'columns': {}})['columns'].update({place.element.name: place.element}) -%}
            {% else -%}
                {% do plain.update({place.name: place}) -%}
                {% do documents.setdefault(place.document, []).append(place.path) -%}
            {% endif -%}
        {% endfor -%}
    {% endfor -%}
    {% if elements | length > 1 -%}
        {% do revetl.wrong_trait('did_in_order: steps', 'name elements of two arrays; they can of one') -%}
    {% endif -%}
    {% for document in documents -%}
        {% do documents.update({document: documents[document] | unique | list}) -%}
    {% endfor -%}
        select
            messages.message_id,
            {%- for step in steps %}
            {{ 'max(' if elements }}case when {{ revetl.is_step(step) }} then 1 else 0 end{{ ')' if elements }} as step_{{ loop.index }}{{ ',' if not loop.last }}
            {%- endfor %}
        from (
            select
                read_messages.message_id,
                read_messages.event
                {%- for name, place in plain.items() %}
                {%- set paths = documents[place.document] %},
                {{ revetl.read_as(place.kind, revetl.member_at('read_messages.' ~ place.document ~ '_members', paths,
                    paths.index(place.path)) | trim) }} as {{ name }}
                {%- endfor %}
                {%- for array in elements.values() %}
                {%- for element in array['columns'].values() %},
                {{ revetl.read_as(element.kind, revetl.json_path_text(revetl.json_element('line'), element.path)) }} as {{ element.name }}
                {%- endfor %}
                {%- endfor %}
            from (
                select
                    stored.message_id,
                    stored.{{ 'event_text' if source == 'track' else 'name' }} as event
                    {%- for document, paths in documents.items() %},
                    {{ revetl.members_of('stored.' ~ document, paths) }} as {{ document }}_members
                    {%- endfor %}
                    {%- for array in elements.values() %},
                    {{ revetl.as_json(dbt.concat(["'{\"elements\":'", "coalesce("
                        ~ revetl.json_array('stored.' ~ array.place.document, array.place.path) ~ ", '[null]')", "'}'"])) }} as elements_read
                    {%- endfor %}
                from {{ stored }} as stored
                where
                    stored.timestamp is not null
                    {%- if asked is not none %}
                    and stored.{{ 'event_text' if source == 'track' else 'name' }} in (
                        {%- for name in asked %}
                        {{ revetl.text_literal(name) }}{{ ',' if not loop.last }}
                        {%- endfor %}
                    )
                    {%- endif %}
                    {%- for condition in revetl.window_sql(window, 'stored.timestamp') %}
                    and {{ condition }}
                    {%- endfor %}
            ) as read_messages
            {{- '\n            ' ~ revetl.join_json_elements('read_messages.elements_read', 'elements', 'line') if elements }}
        ) as messages
        {{- '\n        group by messages.message_id' if elements }}
{%- endmacro %}

{# Whether a message is of a step. #}
{% macro is_step(step) %}
    {% set parts = [] %}
    {% if step.events is not none %}
        {% set names = [] %}
        {% for event in step.events %}
            {% do names.append(revetl.text_literal(event)) %}
        {% endfor %}
        {% do parts.append('messages.event in (' ~ names | join(', ') ~ ')') %}
    {% endif %}
    {% for condition in step.conditions %}
        {% do parts.append(revetl.condition_sql(condition, 'messages')) %}
    {% endfor %}
    {% if step.sql %}
        {% do parts.append('(' ~ step.sql ~ ')') %}
    {% endif %}
    {{ return(parts | join(' and ') or '1 = 1') }}
{% endmacro %}

{# What time alone has changed since `int_revetl__event_traits` was last built, as conditions of rows of `int_revetl__trait_events`: events, and
   times in them, that have come into a window or left it. None where it is made anew, or has no windows that move. #}
{% macro trait_windows() %}
    {% set built = revetl.relation_there('int_revetl__event_traits') if revetl.identity_increment() else none %}
    {% set moving = revetl.moving_windows() if built is not none else [] %}
    {% if not moving %}
        {{ return([]) }}
    {% endif %}
    {% set varchar = revetl.type_of('varchar') %}
    {% set last = run_query('select cast(max(as_of) as ' ~ varchar ~ ') from ' ~ built).rows[0][0] %}
    {% if last is none %}
        {{ return([]) }}
    {% endif %}
    {% set last = "cast('" ~ last ~ "' as " ~ revetl.type_of('timestamp') ~ ')' %}
    {% set now = revetl.as_of() | trim %}
    {% set found = [] %}
    {% for window in moving %}
        {% set moment = 'events.' ~ window.column %}
        {% do found.append(moment ~ ' > ' ~ last ~ ' and ' ~ moment ~ ' <= ' ~ now) %}
        {% if window.hours %}
            {% do found.append(moment ~ ' > ' ~ revetl.hours_before(last, window.hours) ~ ' and ' ~ moment ~ ' <= '
                ~ revetl.hours_before(now, window.hours)) %}
        {% else %}
            {% do found.append(moment ~ ' >= ' ~ revetl.start_of(window.this, last) | trim ~ ' and ' ~ moment ~ ' < '
                ~ revetl.start_of(window.this, now) | trim) %}
        {% endif %}
    {% endfor %}
    {{ return(found | unique | list) }}
{% endmacro %}

{# The windows that move with time: the column they are of, and their hours or what they are this of. #}
{% macro moving_windows() %}
    {% set found = [] %}
    {% for trait in revetl.traits(revetl.message_trait_types()) %}
        {% if 'hours' in trait.window or 'this' in trait.window %}
            {% do found.append({'column': 'timestamp', 'hours': trait.window.get('hours'), 'this': trait.window.get('this')}) %}
        {% endif %}
        {% set conditions = trait.conditions + trait.steps | map(attribute='conditions') | sum(start=[]) %}
        {% for condition in conditions if condition.operator == 'within_last' %}
            {% do found.append({'column': condition.place.name, 'hours': condition.value, 'this': none}) %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
